// Updates that were not applied at their position: those that wait for a member, and those that never can be.

import { html, useState } from "../vendor/htm-preact.js";
import { get, post } from "../lib/api.js";
import { useAsked } from "../lib/store.js";
import { count, plural } from "../lib/format.js";
import { Empty, Page, Trouble } from "../parts/bits.js";
import { Confirm } from "../parts/dialog.js";

function Settle({ which, action, onClose, onDone }) {
  const drop = action === "drop";
  return html`<${Confirm}
    title=${drop ? "Drop a held update" : "Try a held update again"}
    word=${drop ? "Drop" : "Try again"}
    danger=${drop}
    does=${drop
      ? [
          `The update ${which.update_id} of position ${which.position} will never be applied.`,
          "It is listed with the rejected ones from then on, with your reason. The decision is a record of the log.",
        ]
      : [
          `The update ${which.update_id} of position ${which.position} is offered to whoever has the id ${which.waits_for} now.`,
          "Where nobody has it, nothing changes. The decision is a record of the log.",
        ]}
    action=${async (form) => {
      const made = await post("/api/held", { action, position: which.position, reason: form.get("reason") });
      onDone();
      return `Done, at position ${made.position}.`;
    }}
    onClose=${onClose}
  >
    <label for="reason">Why, for whoever reads the log later</label>
    <input id="reason" name="reason" required maxlength="200" autocomplete="off" />
  <//>`;
}

function List({ path, waiting, settles }) {
  const [tokens, setTokens] = useState([""]);
  const [asks, setAsks] = useState(null);
  const { value, problem, busy, again } = useAsked(
    (signal) => get(path, { page_token: tokens.at(-1) }, signal),
    [path, tokens.length],
  );
  if (!value) return problem ? html`<${Trouble} problem=${problem} onAgain=${again} />` : html`<${Empty}>Asking…<//>`;
  return html`<${Trouble} problem=${problem} onAgain=${again} />
    ${value.updates.length === 0
      ? html`<${Empty}>${waiting ? "Nothing waits for a member." : "Nothing was rejected since the import."}<//>`
      : html`<div class="scroll" tabindex="0" role="group" aria-label="Updates"><table>
          <thead><tr><th class="figure">Position</th><th>Update</th><th>Reason</th>
            ${waiting && html`<th>Waits for</th>${settles && html`<th>Settle</th>`}`}</tr></thead>
          <tbody>${value.updates.map(
            (update) => html`<tr key=${update.position}>
              <td class="figure">${count(update.position)}</td><td><code>${update.update_id}</code></td>
              <td>${update.reason}</td>
              ${waiting &&
              html`<td><code>${update.waits_for}</code></td>${settles && html`<td class="buttons">
                <button class="small" onClick=${() => setAsks(["retry", update])}>Try again…</button>
                <button class="small" onClick=${() => setAsks(["drop", update])}>Drop…</button></td>`}`}
            </tr>`,
          )}</tbody></table></div>`}
    <div class="pages">
      <span class="note">${plural(value.total_count, "update")}, as of position ${count(value.as_of.position)}</span>
      <button class="small" disabled=${tokens.length === 1} onClick=${() => setTokens(tokens.slice(0, -1))}>Before</button>
      <button class="small" disabled=${!value.next_page_token || busy}
        onClick=${() => setTokens([...tokens, value.next_page_token])}>Next</button>
      <button class="small" onClick=${again}>Look again</button>
    </div>
    ${asks && html`<${Settle} action=${asks[0]} which=${asks[1]} onDone=${again} onClose=${() => setAsks(null)} />`}`;
}

export function Updates({ session }) {
  return html`<${Page} title="Updates" note="What could not be applied at its position. Everything else is in the tree.">
    <section class="card"><h2>Held: they wait for a member who is not known yet</h2>
      <${List} path="/api/held" waiting settles=${session.acts} /></section>
    <section class="card"><h2>Rejected: they can never be applied</h2><${List} path="/api/rejected" /></section>
  <//>`;
}
