// What the console has seen change since it started.

import { html, useState } from "../vendor/htm-preact.js";
import { useLive } from "../lib/store.js";
import { moment } from "../lib/format.js";
import { Badge, Empty, Page } from "../parts/bits.js";

const KINDS = ["election", "pause", "node", "import"];

export function History() {
  const { state } = useLive();
  const [kind, setKind] = useState("");
  const changes = (state?.changes ?? []).filter((change) => !kind || change.kind === kind);
  return html`<${Page} title="History" note="Elections, pauses, nodes and imports, as seen since the console started.">
    <div class="filters">
      <label for="kind">Show</label>
      <select id="kind" value=${kind} onChange=${(event) => setKind(event.target.value)}>
        <option value="">everything</option>
        ${KINDS.map((name) => html`<option value=${name}>${name}s</option>`)}
      </select>
    </div>
    <section class="card">
      ${changes.length === 0
        ? html`<${Empty}>Nothing of this has changed yet.<//>`
        : html`<div class="scroll" tabindex="0" role="group" aria-label="Changes"><table>
            <thead><tr><th>When</th><th>What</th><th>Change</th></tr></thead>
            <tbody>${changes.map(
              (change) => html`<tr key=${change.at + change.text}><td class="when">${moment(change.at)}</td>
                <td><${Badge} word=${change.kind} tone="plain" /></td><td>${change.text}</td></tr>`,
            )}</tbody>
          </table></div>`}
    </section>
  <//>`;
}
