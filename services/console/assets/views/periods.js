// Commission periods: which ones take orders, which one is current; opened and closed by a record of the log.

import { html, useState } from "../vendor/htm-preact.js";
import { get, post } from "../lib/api.js";
import { useAsked, useLive } from "../lib/store.js";
import { Badge, Page, Trouble } from "../parts/bits.js";
import { Confirm } from "../parts/dialog.js";

const TAKES = {
  current: () => "orders that name it, and those that name none",
  open: () => "orders that name it",
  late: (until) => `orders that name it, until ${until}`,
  closed: () => "nothing",
};
const DOES = {
  open: () => ["Orders that name this month are taken from now on."],
  current: (month) => [`Orders that name no period fall into ${month || "this month"} from now on.`],
  close: (month) => [
    `${month} takes no orders any more, or until a last day the late ones that name it.`,
    "Without that day it is closed for good: nodes keep its state for reports, and nothing opens it again.",
  ],
};
const WORDS = { open: "Open", current: "Make current", close: "Close" };

export function Periods({ session }) {
  const { state } = useLive();
  const { value, problem, again } = useAsked((signal) => get("/api/periods", {}, signal), []);
  const [asks, setAsks] = useState(null);
  const kept = Object.entries(state?.holds ?? {});
  const [action, month] = asks ?? [];
  return html`<${Page} title="Periods" note="Each change is a record of the log, the same on every node."
    actions=${session.acts && html`<button onClick=${() => setAsks(["open", ""])}>Open a period…</button>`}>
    <${Trouble} problem=${problem} onAgain=${again} />
    ${value &&
    html`<section class="card"><div class="scroll" tabindex="0" role="group" aria-label="Periods"><table>
        <thead><tr><th>Period</th><th>State</th><th>Takes</th><th>Kept by</th><th>Change</th></tr></thead>
        <tbody>${value.periods.map(
          (one) => html`<tr key=${one.period}><td><strong>${one.period}</strong></td>
            <td><${Badge} word=${one.state} tone=${one.state === "current" ? "good" : "plain"} /></td>
            <td>${TAKES[one.state](one.late_until)}</td>
            <td>${one.state === "closed" &&
              (kept.filter(([, holds]) => holds.kept_periods.includes(one.period)).map(([name]) => name).join(", ") || "no node")}</td>
            <td class="buttons">
              ${session.acts && one.state === "open" && html`<button class="small" onClick=${() => setAsks(["current", one.period])}>Make current…</button>`}
              ${session.acts && ["open", "late"].includes(one.state) && html`<button class="small" onClick=${() => setAsks(["close", one.period])}>Close…</button>`}
            </td></tr>`,
        )}</tbody></table></div>
        <p class="note">Volume types: ${value.volume_types.join(", ")}</p></section>`}
    ${asks &&
    html`<${Confirm} title="${WORDS[action]} ${month || "a period"}" word=${WORDS[action]} danger=${action === "close"}
      does=${DOES[action](month)}
      action=${async (form) => {
        const period = month || form.get("period");
        const made = await post("/api/periods", { action, period, late_until: form.get("late") ?? "" });
        again();
        return `Done, at position ${made.position}.`;
      }}
      onClose=${() => setAsks(null)}>
      ${!month && html`<label for="period">Month, as 2026-12</label>
        <input id="period" name="period" required pattern="[0-9]{4}-[0-9]{2}" autocomplete="off" />`}
      ${action === "close" && html`<label for="late">Late orders until (a day; empty: none, for good)</label>
        <input id="late" name="late" type="date" />`}
    <//>`}
  <//>`;
}
