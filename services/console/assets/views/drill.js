// A drill: what it will do, each step as it goes on, and its receipt.

import { html, useState } from "../vendor/htm-preact.js";
import { get, post, save } from "../lib/api.js";
import { useAsked } from "../lib/store.js";
import { count, moment, plural } from "../lib/format.js";
import { Badge, Empty, Fact, Page, Trouble } from "../parts/bits.js";
import { Confirm } from "../parts/dialog.js";
import { Icon } from "../parts/icons.js";

const POLL_MS = 700;
const RESULTS = { good: "good", BAD: "bad", "not tried": "plain" };

// longest_gap_ms 38.1 as "longest gap 38.1 ms".
function figure([name, value]) {
  const [, words, unit] = /^(.*?)(?:_(ms|s))?$/.exec(name);
  return `${words.replaceAll("_", " ")} ${unit ? `${value} ${unit}` : count(value)}`;
}

function Begin({ can, onClose, onBegun }) {
  return html`<${Confirm}
    title="Drill on this cluster"
    word="Begin the drill"
    danger
    does=${[
      `${plural(can.reads_per_s, "read")} a second go through the VIP, and ${plural(can.orders_per_s, "order")} a second are pushed for a member of the drill's own.`,
      "Another node becomes primary: a planned switchover.",
      can.can_kill
        ? "Where you leave the mark below: the primary's process is killed for real, and has to come back by itself."
        : "No process is killed: this console knows none of the nodes' processes (console.endpoints_file).",
      ...(can.kept ? [] : ["Nobody undoes it if the console is killed in the middle: it has no folder to remember it in (console.state_folder)."]),
      "At the end the orders are taken back, the drill's member is removed, and the primary of before is primary again. What was pushed stays in the log.",
    ]}
    action=${async (form) => {
      onBegun(await post("/api/drill", { kill: form.get("kill") === "on" }));
      onClose();
    }}
    onClose=${onClose}
  >
    ${can.can_kill && html`<label class="check"><input type="checkbox" name="kill" checked /> Kill the primary's process too</label>`}
  <//>`;
}

function Steps({ drill, running }) {
  return html`<ol class="steps" aria-label="Steps of the drill" aria-live="polite">
    ${drill.steps.map((step) => html`<li key=${step.step}>
      <strong>${step.step}</strong>
      ${step.over ? html`<${Badge} word=${step.good ? "good" : "bad"} tone=${step.good ? "good" : "bad"} />`
        : html`<${Badge} word="under way" tone="warn" />`}
      <span class="note">${Object.entries(step.figures).map(figure).join(" · ")}</span>
      ${step.problem && html`<span class="refused">${step.problem}</span>`}
    </li>`)}
    ${running && drill.steps.every((step) => step.over) && html`<li><span class="note">The next step begins…</span></li>`}
  </ol>
  ${Object.entries(drill.not_tried).map(([name, why]) => html`<p class="note">Not tried: ${name} (${why}).</p>`)}`;
}

function Receipt({ drill }) {
  const { receipt } = drill;
  const name = `drill-${new Date(drill.begun_at).toISOString().slice(0, 19).replaceAll(":", "")}.json`;
  const file = () => save(new Blob([JSON.stringify({ ...receipt, begun_at: drill.begun_at, ended_at: drill.ended_at }, null, 2)],
    { type: "application/json" }), name);
  return html`<section class="card">
    <header class="card-head"><h2>Beside the testing procedure of 2016</h2>
      <button onClick=${file}><${Icon} name="down" />Receipt as JSON</button></header>
    <div class="scroll" tabindex="0" role="group" aria-label="Testing procedure of 2016"><table>
      <thead><tr><th>Section</th><th>What it asks for</th><th>Result</th><th>Shown by</th></tr></thead>
      <tbody>${receipt.procedure_2016.map((one) => html`<tr><td>${one.section}</td><td>${one.asks}</td>
        <td><${Badge} word=${one.result} tone=${RESULTS[one.result]} /></td><td>${one.by}</td></tr>`)}</tbody>
    </table></div></section>`;
}

export function DrillView({ session }) {
  const [asks, setAsks] = useState(false);
  const { value, problem, again } = useAsked((signal) => get("/api/drill", {}, signal), [], POLL_MS);
  const drill = value?.newest;
  const running = value?.running ?? false;
  return html`<${Page} title="Drill" note="A failover, tried on this cluster under load, measured and undone."
    actions=${session.acts && (running
      ? html`<button onClick=${() => post("/api/drill/end").then(again)}><${Icon} name="back" />Break off and undo</button>`
      : value?.not_undone ? html`<button class="primary" onClick=${() => post("/api/drill/undo").then(again)}><${Icon} name="back" />Undo it now</button>`
      : html`<button disabled=${!value} onClick=${() => setAsks(true)}><${Icon} name="play" />Begin a drill…</button>`)}>
    <${Trouble} problem=${problem} onAgain=${again} />
    ${value && !drill && html`<section class="card"><${Empty}>No drill yet since the console started. Nothing happens before you have read what it will do.<//></section>`}
    ${drill && html`<section class="card">
      <header class="card-head"><h2>Begun ${moment(drill.begun_at)}</h2>
        ${running ? html`<${Badge} word="under way" tone="warn" />`
          : html`<${Badge} word=${drill.receipt.good ? "good" : "bad"} tone=${drill.receipt.good ? "good" : "bad"} />`}
      </header>
      ${drill.of_before && html`<p class=${running || value.not_undone ? "refused" : "done"} role="status">The console ended in the middle of this drill. ${
        running ? "What it did is being undone." : value.not_undone ? "It is not undone yet." : "What it did is undone."}</p>`}
      ${drill.left_behind && html`<p class="refused" role="alert">${drill.left_behind}</p>`}
      ${!running && html`<dl class="facts"><${Fact} name="Took">${count(Math.round((drill.ended_at - drill.begun_at) / 1000))} s<//>
        ${!drill.of_before && html`<${Fact} name="The primary was">${drill.kills ? "killed" : "not killed"}<//>`}</dl>`}
      <${Steps} drill=${drill} running=${running} /></section>`}
    ${drill?.receipt && !drill.of_before && html`<${Receipt} drill=${drill} />`}
    ${asks && html`<${Begin} can=${value} onBegun=${again} onClose=${() => setAsks(false)} />`}
  <//>`;
}
