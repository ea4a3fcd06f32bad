// The runbook: docs/alerts.md, and the passage of docs/operations.md that an alert leads to, as they were released.

import { html } from "../vendor/htm-preact.js";
import { get } from "../lib/api.js";
import { useAsked } from "../lib/store.js";
import { Page, Trouble } from "../parts/bits.js";
import { Markdown, inline } from "../parts/markdown.js";

export function Runbook({ rest: [alert] }) {
  const { value, problem, again } = useAsked(() => get("/api/runbook"), []);
  const found = value?.alerts.find((one) => one.alert === alert);
  return html`<${Page} title=${found ? alert : "Runbook"} note=${found ? "" : "What each alert means, and what to do."}>
    <${Trouble} problem=${problem} onAgain=${again} />
    ${found &&
    html`<section class="card prose"><h2>What it means</h2><p>${inline(found.means)}</p>
      <h2>What to do</h2><p>${inline(found.mend)}</p></section>
      ${found.passages.map((text) => html`<section class="card prose"><${Markdown} text=${text} /></section>`)}
      <p><a href="#/runbook">All alerts</a></p>`}
    ${value &&
    !found &&
    html`<section class="card"><div class="scroll" tabindex="0" role="group" aria-label="Alerts"><table>
      <thead><tr><th>Alert</th><th>What it means</th><th>What to do</th></tr></thead>
      <tbody>${value.alerts.map(
        (one) => html`<tr key=${one.alert}><td><a href=${`#/runbook/${one.alert}`}>${one.alert}</a></td>
          <td>${inline(one.means)}</td><td>${inline(one.mend)}</td></tr>`,
      )}</tbody></table></div></section>`}
  <//>`;
}
