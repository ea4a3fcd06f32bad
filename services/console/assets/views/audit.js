// Who did what, and who was refused, as this machine's services wrote it down; whether it still is as it was written.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { get } from "../lib/api.js";
import { count, moment, plural } from "../lib/format.js";
import { Badge, Elsewhere, Empty, Page, Trouble } from "../parts/bits.js";
import { Icon } from "../parts/icons.js";

const OUTCOMES = [
  ["", "everything"], ["operations", "operations"], ["failed", "operations that failed"], ["refused", "refusals"],
  ["services", "services' own"],
];
const WORDS = { "refused-more": "refused, counted", policy: "policy", opened: "log opened", file: "next file", begun: "begun" };

function outcome(one) {
  if (one.kind === "ended") return one.status === "OK" ? ["done", "good"] : [one.status.toLowerCase().replaceAll("_", " "), "bad"];
  if (one.kind.startsWith("refused")) return [WORDS[one.kind] ?? "refused", "warn"];
  return [WORDS[one.kind] ?? one.kind, "plain"];
}

const name = (principal) => principal.split("://").pop() || "–";

function Row({ one }) {
  const [word, tone] = outcome(one);
  const { by, ...details } = one.details;
  const told = [one.reason, ...Object.entries(details).map(([field, value]) => `${field.replaceAll("_", " ")} ${value}`)];
  return html`<tr>
    <td class="when">${moment(Date.parse(one.time))}</td>
    <td><${Badge} word=${word} tone=${tone} /></td>
    <td title=${one.who}>${name(one.who)}${by && html` <span class="note" title=${by}>by ${name(by)}</span>`}${one.peer && html`<br /><span class="note">${one.peer}</span>`}</td>
    <td><code>${one.method.split("/").pop() || "–"}</code><br /><span class="note">${one.service}</span></td>
    <td class="told">${told.filter(Boolean).join(" · ")}</td>
  </tr>`;
}

function Chains() {
  const [found, setFound] = useState({ busy: false });
  const look = async () => {
    setFound({ busy: true });
    setFound(await get("/api/audit/verify").catch((problem) => ({ problem })));
  };
  const broken = found.chains?.filter((one) => one.problem) ?? [];
  return html`<section class="card">
    <header class="card-head"><h2>Is every record there, as it was written?</h2>
      <button onClick=${look} disabled=${found.busy}><${Icon} name="check" />${found.busy ? "Reading all of it…" : "Verify the chains"}</button></header>
    <${Trouble} problem=${found.problem} onAgain=${look} />
    ${found.chains && html`<p role="status" class=${broken.length ? "refused" : "done"}>
      ${broken.length ? `${plural(broken.length, "chain")} broken.` : `All ${plural(found.chains.length, "chain")} whole,`} ${moment(found.at)}</p>
      <div class="scroll" tabindex="0" role="group" aria-label="Chains"><table>
        <thead><tr><th>Folder</th><th>Chain</th><th class="figure">Records</th><th>Verdict</th><th>Newest hash</th></tr></thead>
        <tbody>${found.chains.map((one) => html`<tr><td>${one.folder}</td><td>${one.chain}</td><td class="figure">${count(one.records)}</td>
          <td><${Badge} word=${one.problem ? "broken" : "whole"} tone=${one.problem ? "bad" : "good"} />${one.problem && html` <span class="refused">${one.problem}</span>`}</td>
          <td><code>${one.newest_hash}</code></td></tr>`)}</tbody></table></div>
      <p class="note">A hash that is kept elsewhere proves later that nothing before it was changed: <code>fasttree audit verify --newest HASH</code>.</p>`}
  </section>`;
}

export function Audit() {
  const [asked, setAsked] = useState({ outcome: "", who: "", method: "", part: "" });
  const [parts, setParts] = useState([]);
  const [rows, setRows] = useState(null);
  const [problem, setProblem] = useState(null);
  const [round, again] = useState(0);
  const key = JSON.stringify(asked);
  const load = async (older, signal) => {
    try {
      const found = await get("/api/audit", { ...asked, older: older?.join("\n") }, signal);
      if (signal?.aborted) return;
      if (found.parts) setParts(found.parts);
      if (found.folders === null && found.parts?.length) return setAsked((before) => ({ ...before, part: found.parts[0] }));
      setRows((before) => ({ ...found, records: older ? [...before.records, ...found.records] : found.records }));
      setProblem(null);
    } catch (error) {
      if (signal?.aborted) return;
      setRows(older ? (before) => before : { folders: [], records: [], older: null });
      setProblem(error);
    }
  };
  useEffect(() => {
    const abort = new AbortController();
    const timer = setTimeout(() => load(null, abort.signal), 200);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [key, round]);
  const field = (of, title) => html`<label>${title} <input type="search" name=${of} value=${asked[of]} maxlength="100"
    onInput=${(event) => setAsked({ ...asked, [of]: event.target.value.trim() })} /></label>`;
  if (rows?.folders === null) {
    return html`<${Page} title="Audit"><${Elsewhere} what="audit logs" setting="console.audit_folder"
      commands=${["fasttree audit show --since 2d", "fasttree audit verify"]} /><//>`;
  }
  return html`<${Page} title="Audit" note="Who did what, and who was refused, the newest first; of the services on the console's machine, or of one part elsewhere."
    actions=${html`<button onClick=${() => again((before) => before + 1)}><${Icon} name="history" />Look again</button>`}>
    <div class="filters">
      ${parts.length > 0 && html`<label>Of <select name="part" onChange=${(event) => setAsked({ ...asked, part: event.target.value })}>
        <option value="">the console's machine</option>
        ${parts.map((one) => html`<option value=${one} selected=${one === asked.part}>${one}</option>`)}</select></label>`}
      <label>Outcome <select value=${asked.outcome} onChange=${(event) => setAsked({ ...asked, outcome: event.target.value })}>
        ${OUTCOMES.map(([value, title]) => html`<option value=${value}>${title}</option>`)}</select></label>
      ${field("who", "Who")} ${field("method", "Call")}
    </div>
    <${Trouble} problem=${problem} onAgain=${() => again((before) => before + 1)} />
    <section class="card">${!rows ? html`<${Empty}>Asking…<//>` : rows.records === null ? html`<${Empty}>It keeps no audit log.<//>` : rows.records.length === 0
      ? html`<${Empty}>${rows.older ? "Nothing of this among the newest 20,000 records." : "Nothing of this was written down."}<//>`
      : html`<div class="scroll" tabindex="0" role="group" aria-label="Records"><table class="audit">
          <thead><tr><th>When</th><th>Outcome</th><th>Who</th><th>What</th><th>More</th></tr></thead>
          <tbody>${rows.records.map((one) => html`<${Row} key=${one.key} one=${one} />`)}</tbody></table></div>`}
      ${rows?.older && html`<div class="pages"><button class="small" onClick=${() => load(rows.older)}>Older ones</button></div>`}
    </section>
    ${!asked.part && html`<${Chains} />`}
  <//>`;
}
