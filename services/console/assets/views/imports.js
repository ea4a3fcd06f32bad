// Imports: how far each node is with the newest ones, what they changed, why one was refused, and the way back.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { download, get, post } from "../lib/api.js";
import { useAsked, useLive } from "../lib/store.js";
import { bytes, count, moment, plural } from "../lib/format.js";
import { Badge, Empty, Fact, Page, Trouble } from "../parts/bits.js";
import { Confirm } from "../parts/dialog.js";
import { Icon } from "../parts/icons.js";

const FIGURES = [
  ["members_before", "Members before"],
  ["members_after", "Members after"],
  ["members_added", "Added"],
  ["members_removed", "Removed"],
  ["members_moved", "Moved"],
  ["volumes_changed", "Volumes changed"],
];
const TONES = { done: "good", refused: "bad", superseded: "plain", waiting: "warn", "rolling out": "warn" };

function Progress({ node }) {
  const done = node.phase === "done" || node.phase === "refused";
  return html`<li>
    <strong>${node.node}</strong>
    <${Badge} word=${node.phase || "waits"} />
    ${!done && node.phase && html`<progress max="100" value=${node.percent} aria-label="${node.node}: ${node.phase}"></progress>
      <span>${node.percent} %</span>`}
    ${node.rows > 0 && html`<span class="note">${plural(node.rows, "row")}</span>`}
    ${node.reason && html`<span class="refused">${node.reason}</span>`}
  </li>`;
}

function Import({ one, inForce }) {
  const changed = one.nodes.map((node) => node.reconciliation).find(Boolean);
  return html`<article class="card" aria-label="Import ${one.import_id}">
    <header class="card-head">
      <h2>Import ${one.import_id} <span class="note">${one.file_name}</span></h2>
      ${inForce && html`<${Badge} word="in force" tone="good" />`}
      <${Badge} word=${one.state} tone=${TONES[one.state]} />
    </header>
    <dl class="facts">
      <${Fact} name="Uploaded">${moment(one.uploaded_at)}<//>
      <${Fact} name="Size">${bytes(one.size_bytes)}<//>
      <${Fact} name="As of position">${count(one.as_of_position)}<//>
      ${changed && FIGURES.map(([name, title]) => html`<${Fact} name=${title}>${count(changed[name])}<//>`)}
      ${changed && html`<${Fact} name="Volume difference">${changed.volume_difference}<//>`}
    </dl>
    ${one.remark && html`<p class="node-note">${one.remark}</p>`}
    ${one.uploaded_as && html`<p class="note">${one.uploaded_as}</p>`}
    <ul class="steps">${one.nodes.map((node) => html`<${Progress} key=${node.node} node=${node} />`)}</ul>
    ${one.rejected_count > 0 &&
    html`<h3>${plural(one.rejected_count, "row")} refused</h3>
      <div class="scroll" tabindex="0" role="group" aria-label="Refused rows"><table>
        <thead><tr><th class="figure">Line</th><th>Column</th><th>Reason</th></tr></thead>
        <tbody>${one.rejected_rows.slice(0, 10).map(
          (row) => html`<tr><td class="figure">${row.line || "–"}</td><td>${row.column}</td><td>${row.reason}</td></tr>`,
        )}</tbody></table></div>
      <button onClick=${() => download("/api/imports/refused", { id: one.import_id }, `refused-${one.import_id}.csv`)}>
        <${Icon} name="down" />Refused rows as CSV</button>`}
  </article>`;
}

export function Imports({ session }) {
  const { state } = useLive();
  const states = JSON.stringify(state?.status.imports.map((one) => [one.import_id, one.state, one.nodes]));
  const { value, problem, again } = useAsked((signal) => get("/api/imports", {}, signal), [states]);
  const [asks, setAsks] = useState(false);
  useEffect(() => {
    const timer = setInterval(again, 5000);
    return () => clearInterval(timer);
  }, []);
  const before = value?.imports.filter((one) => one.import_id < value.in_force && one.state !== "refused")[0];
  return html`<${Page}
    title="Imports"
    note="A file replaces the whole tree; the one before serves until the new one is complete."
    actions=${session.acts && html`<button disabled=${!before} onClick=${() => setAsks(true)}><${Icon} name="back" />Roll back…</button>`}
  >
    <${Trouble} problem=${problem} onAgain=${again} />
    ${value?.imports.length === 0 && html`<${Empty}>Nothing was imported yet: <code>fasttree import FILE</code> does it.<//>`}
    ${value?.imports.map((one) => html`<${Import} key=${one.import_id} one=${one} inForce=${one.import_id === value.in_force} />`)}
    ${asks &&
    html`<${Confirm}
      title="Go back to the import before"
      word="Roll back"
      danger
      does=${[
        `The file of import ${before.import_id} (${before.file_name}) becomes a new import, and replaces the tree.`,
        "Every update since that file's position is applied on top of it: no order is lost.",
        "The tree of now serves until the other one is complete. Whoever wants it again imports its file again.",
      ]}
      action=${async () => {
        const made = await post("/api/imports/rollback");
        again();
        return `Going back to ${made.file_name}, as import ${made.import_id}.`;
      }}
      onClose=${() => setAsks(false)}
    />`}
  <//>`;
}
