// The newest lines of each process's log, where they lie on the console's machine.

import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { get } from "../lib/api.js";
import { useAsked } from "../lib/store.js";
import { age, bytes } from "../lib/format.js";
import { Elsewhere, Empty, Page, Trouble } from "../parts/bits.js";

const FOLLOW_MS = 2000;
const GRAVE = /\b(error|critical|fatal|traceback)\b/i;
const WARNS = /\bwarn(ing)?\b/i;
const tone = (line) => (GRAVE.test(line) ? "bad" : WARNS.test(line) ? "warn" : "");

function Tail({ name, part, find, lines, follow }) {
  const { value, problem, again } = useAsked(
    (signal) => get("/api/logs/tail", { [part ? "part" : "name"]: name, lines }, signal), [name, part, lines], follow ? FOLLOW_MS : 0);
  const end = useRef(null);
  const shown = value?.name === name ? value.lines.filter((line) => !find || line.toLowerCase().includes(find.toLowerCase())) : null;
  const last = shown?.at(-1);
  useEffect(() => {
    if (follow && end.current) end.current.scrollTop = end.current.scrollHeight;
  }, [last, follow]);
  if (!shown) return problem ? html`<${Trouble} problem=${problem} onAgain=${again} />` : html`<${Empty}>Asking…<//>`;
  return html`<${Trouble} problem=${problem} onAgain=${again} />
    <p class="note">${value.is_whole ? "All of it" : `Its last ${value.lines.length} lines`}${part ? ", as it keeps them while it runs" : `, of ${bytes(value.bytes)}`}${find && `; ${shown.length} with “${find}”`}.</p>
    <pre class="log" ref=${end} tabindex="0" aria-label="Log of ${name}">${shown.length
      ? shown.map((line) => html`<span class=${tone(line)}>${line}${"\n"}</span>`) : "Nothing."}</pre>`;
}

export function Logs({ rest: [chosen = ""] }) {
  const { value, problem, again } = useAsked((signal) => get("/api/logs", {}, signal), [], 10_000);
  const [find, setFind] = useState("");
  const [lines, setLines] = useState(200);
  const [follow, setFollow] = useState(true);
  // What lies here is shown from here; a part elsewhere is asked.
  const here = (value?.files ?? []).map((file) => file.name);
  const parts = (value?.parts ?? []).filter((one) => !here.includes(one));
  if (value?.files === null && parts.length === 0) {
    return html`<${Page} title="Logs"><${Elsewhere} what="logs" setting="console.logs_folder"
      commands=${["fasttree logs", "journalctl -u fasttree-treenode@n1", "kubectl logs pod/NAME"]} /><//>`;
  }
  const name = chosen || here[0] || parts[0] || "";
  const now = Date.now();
  return html`<${Page} title="Logs" note="The newest lines of each process: from the console's machine, and from parts elsewhere by their own ports.">
    <${Trouble} problem=${problem} onAgain=${again} />
    ${value && here.length + parts.length === 0 && html`<${Empty}>No log lies there.<//>`}
    ${here.length + parts.length > 0 && html`<nav class="filters" aria-label="Logs">${(value.files ?? []).map((file) => html`<a class="button small"
        href=${`#/logs/${encodeURIComponent(file.name)}`} aria-current=${file.name === name ? "page" : undefined}
        title="${bytes(file.bytes)}, written ${age(now - file.changed_at)}">${file.name}</a>`)}${parts.map((one) => html`<a class="button small" href=${`#/logs/${encodeURIComponent(one)}`}
        aria-current=${one === name ? "page" : undefined} title="Asked at its own port">${one}</a>`)}</nav>
      <div class="filters">
        <label>With <input type="search" value=${find} maxlength="100" onInput=${(event) => setFind(event.target.value.trim())} /></label>
        <label>Lines <select onChange=${(event) => setLines(Number(event.target.value))}>
          ${[50, 200, 1000].map((one) => html`<option value=${one} selected=${one === lines}>${one}</option>`)}</select></label>
        <label class="check"><input type="checkbox" checked=${follow} onChange=${(event) => setFollow(event.target.checked)} /> Follow</label>
      </div>
      <section class="card"><h2>${name}</h2><${Tail} key=${name} name=${name} part=${parts.includes(name)} find=${find} lines=${lines} follow=${follow} /></section>`}
  <//>`;
}
