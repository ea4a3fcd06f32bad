// The cluster at a glance: what is wrong on top, then who does what, how far everybody is, and whose turn it may be.

import { html, useMemo, useState } from "../vendor/htm-preact.js";
import { post } from "../lib/api.js";
import { useLive } from "../lib/store.js";
import { age, compact, count, plural, time } from "../lib/format.js";
import { Badge, Empty, Fact, Page } from "../parts/bits.js";
import { TimeChart } from "../parts/chart.js";
import { Confirm } from "../parts/dialog.js";
import { Icon } from "../parts/icons.js";

const RATE_STEPS = 10;

function Problems({ state }) {
  const { problems, status } = state;
  if (problems.length === 0) {
    const nodes = plural(status.nodes.length, "node");
    return html`<section class="verdict good" aria-label="Problems">
      <${Icon} name="check" /><p><strong>All is well.</strong> ${nodes} ready, one primary, the same digest everywhere.</p>
    </section>`;
  }
  // What is a fault the API says, as `fasttree status` does by its exit code.
  const faults = problems.filter((problem) => problem.fault);
  const looks = problems.filter((problem) => !problem.fault);
  return html`${faults.length > 0 && html`<${Verdict} tone="bad" title=${plural(faults.length, "problem")} found=${faults} />`}
    ${looks.length > 0 && html`<${Verdict} tone="warn" title=${`${plural(looks.length, "thing")} worth a look`} found=${looks} />`}`;
}

function Verdict({ tone, title, found }) {
  return html`<section class="verdict ${tone}" aria-label=${title}>
    <h2><${Icon} name="warn" />${title}</h2>
    <ul>
      ${found.map(
        (problem) => html`<li key=${problem.text}>
          <span>${problem.text}</span> <a href=${`#/runbook/${problem.alert}`}>What to do</a>
        </li>`,
      )}
    </ul>
  </section>`;
}

// Whether the nodes that stand at one import and position hold the same; null where none can be compared now.
function agreement(nodes) {
  const found = new Map();
  for (const node of nodes) {
    if (!node.alive || node.position === null) continue;
    const place = `${node.import_id}/${node.position}`;
    found.set(place, (found.get(place) ?? new Set()).add(node.digest));
  }
  return found;
}

function Node({ node, holds, digests, at, status }) {
  const role = node.role === "primary" ? "primary" : "";
  const alone = digests.get(`${node.import_id}/${node.position}`)?.size > 1;
  const tone = { primary: "good", passive: "good", silent: "bad", unknown: "plain" }[node.state] ?? "warn";
  return html`<article class="card node ${tone}" aria-label="Node ${node.node}">
    <header>
      <h3>${node.node}</h3>
      ${role && html`<${Badge} word="primary" />`}
      ${node.state !== "primary" && html`<${Badge} word=${node.state} tone=${tone} />`}
    </header>
    ${node.loading_import_id > 0 &&
    html`<label class="loading">Import ${node.loading_import_id}
      <progress max="100" value=${node.loading_percent}></progress>${node.loading_percent} %</label>`}
    <dl class="facts">
      <${Fact} name="Position">${count(node.position)}<//>
      <${Fact} name="Behind">
        <span class=${node.lag > 0 ? "" : "calm"}>${node.lag === null ? "–" : plural(node.lag, "update")}</span>
      <//>
      <${Fact} name="Members">${count(holds?.members)}<//>
      <${Fact} name="Held · rejected">${holds ? `${count(holds.held)} · ${count(holds.rejected)}` : "–"}<//>
      <${Fact} name="Import">${node.import_id || "none"}<//>
      <${Fact} name="Heartbeat">
        ${node.silent_ms === undefined ? "–" : node.silent_ms < 2000 ? `${node.silent_ms} ms ago` : age(node.silent_ms)}
      <//>
      ${role && html`<${Fact} name="Lease left" title="By the node's own clock, when it was asked last">
        ${holds ? `${(holds.lease_left_ms / 1000).toFixed(1)} s` : "–"}<//>`}
      <${Fact} name="Answers as of">${holds?.fresh_at ? age(at - holds.fresh_at) : "–"}<//>
      <${Fact} name="Rules version">
        ${holds?.rule_version ?? "–"}${status.log ? ` of ${status.log.known_rule_version}` : ""}
      <//>
      <${Fact} name="Software">${holds?.software_version || "–"}<//>
      <${Fact} name="Digest" title="Nodes at one import and position have the same">
        <code class=${alone ? "differs" : ""}>${node.digest ?? "–"}</code>
      <//>
      <${Fact} name="Reports at"><code>${node.report ?? "–"}</code><//>
    </dl>
    ${node.note && html`<p class="node-note">${node.note}</p>`}
  </article>`;
}

function rate(steps) {
  const known = steps.slice(-RATE_STEPS - 1).filter((step) => step.position !== null);
  if (known.length < 2) return null;
  const first = known[0];
  const last = known.at(-1);
  return Math.max(last.position - first.position, 0) / ((last.at - first.at) / 1000);
}

function Graphs({ steps }) {
  const names = [...new Set(steps.flatMap((step) => Object.keys(step.lag)))].sort();
  const at = steps.at(-1)?.at;
  const [lag, rates] = useMemo(() => {
    const times = steps.map((step) => step.at / 1000);
    const flow = steps.map((step, place) => {
      const before = steps[place - 1];
      if (!before || before.position === null || step.position === null) return null;
      return Math.max(step.position - before.position, 0) / ((step.at - before.at) / 1000);
    });
    return [[times, ...names.map((name) => steps.map((step) => step.lag[name] ?? null))], [times, flow]];
  }, [at, names.join()]);
  if (steps.length < 2) return html`<${Empty}>The graphs begin in a moment.<//>`;
  return html`<div class="graphs">
    <section class="card"><h2>Updates behind the log</h2>
      <${TimeChart} label="How many updates each node lacks, over time" series=${names} data=${lag} /></section>
    <section class="card"><h2>Updates a second</h2>
      <${TimeChart} label="Updates that entered the log a second, over time" series=${["log"]} data=${rates} /></section>
  </div>`;
}

function Switchover({ status, onClose }) {
  const others = status.nodes.filter((node) => node.state === "passive").map((node) => node.node);
  return html`<${Confirm}
    title="Switch over"
    word="Switch over"
    does=${[
      `${status.primary || "No node"} gives up its role once the other node has caught up to the exact position.`,
      "Reports go on; those under way end where they began.",
      "If the other one does not catch up in time, nothing changes.",
    ]}
    action=${async (form) => {
      const answer = await post("/api/switchover", { to_node: form.get("to") });
      if (answer.from_node === answer.to_node) return `${answer.to_node} is primary already, epoch ${answer.epoch}.`;
      return `${answer.to_node} is primary, epoch ${answer.epoch}. It took ${answer.took_ms} ms.`;
    }}
    onClose=${onClose}
  >
    <label for="to">New primary</label>
    <select id="to" name="to">
      <option value="">The one that is furthest</option>
      ${others.map((name) => html`<option value=${name}>${name}</option>`)}
    </select>
  <//>`;
}

function Pause({ status, onClose }) {
  const paused = status.paused;
  return html`<${Confirm}
    title=${paused ? "Let elections go on" : "Pause elections"}
    word=${paused ? "Resume" : "Pause"}
    danger=${!paused}
    does=${paused
      ? ["A primary that fails is replaced again, by the ready node that is furthest."]
      : [
          "A primary that fails is not replaced until elections are resumed.",
          "Reports then come from every ready node. Nothing else changes.",
        ]}
    action=${async () => {
      await post(paused ? "/api/resume" : "/api/pause");
      return paused ? "Elections go on." : "Elections are paused.";
    }}
    onClose=${onClose}
  />`;
}

function Log({ log, software }) {
  if (!log) return html`<${Empty}>The pusher does not say.<//>`;
  return html`<dl class="facts">
    <${Fact} name="Log id"><code>${log.log_id || "none"}</code><//>
    <${Fact} name="Kept from">${count(log.first_position)}<//>
    <${Fact} name="Store">${log.store || "–"}<//>
    <${Fact} name="Loss of a machine">${log.survives_machine_loss ? "survived" : "not survived"}<//>
    <${Fact} name="Rules version">${log.rule_version} of ${log.known_rule_version}<//>
    <${Fact} name="Waits for">${log.rule_version_waits_for.join(", ") || "nobody"}<//>
    <${Fact} name="Pusher's software">${software.pusher || "–"}<//>
    <${Fact} name="Coordinator's software">${software.coordinator || "–"}<//>
  </dl>
  ${log.durability && html`<p class="note">${log.durability}</p>`}`;
}

export function Cluster({ session }) {
  const { state, lag, problem } = useLive();
  const [open, setOpen] = useState("");
  if (!state) {
    return html`<${Page} title="Cluster"><${Empty}>${problem ? problem.message : "Asking the cluster…"}<//><//>`;
  }
  const { status, holds, changes, software } = state;
  const digests = agreement(status.nodes);
  const flow = rate(lag);
  const close = () => setOpen("");
  return html`<${Page}
    title=${status.cluster || "No cluster"}
    actions=${session.acts && html`<button onClick=${() => setOpen("switchover")} disabled=${status.primary === null}>
        <${Icon} name="swap" />Switch over…</button>
      <button onClick=${() => setOpen("pause")} disabled=${status.paused === null}>
        <${Icon} name=${status.paused ? "play" : "pause"} />${status.paused ? "Resume elections…" : "Pause elections…"}
      </button>`}
  >
    <div class=${problem ? "stale" : ""}>
      <${Problems} state=${state} />
      <dl class="tiles">
        <div><dt>Primary</dt><dd>${status.primary === null ? "–" : status.primary || "none"}</dd></div>
        <div><dt>Epoch</dt><dd>${count(status.epoch)}</dd></div>
        <div><dt>Log at</dt><dd>${count(status.log?.position)}</dd></div>
        <div><dt>Updates a second</dt><dd>${flow === null ? "–" : flow < 10 ? flow.toFixed(1) : compact(flow)}</dd></div>
        <div><dt>Elections</dt><dd>${status.paused === null ? "–" : status.paused ? "paused" : "on"}</dd></div>
      </dl>
      <h2 class="section">Nodes</h2>
      <div class="nodes">
        ${status.nodes.map(
          (node) => html`<${Node} key=${node.node} node=${node} holds=${holds[node.node]} digests=${digests}
            at=${state.at} status=${status} />`,
        )}
        ${status.nodes.length === 0 && html`<${Empty}>Nobody says which nodes there are.<//>`}
      </div>
      <${Graphs} steps=${lag} />
      <div class="pair">
        <section class="card"><h2>Log</h2><${Log} log=${status.log} software=${software} /></section>
        <section class="card"><h2>Newest changes</h2>
          ${changes.length === 0
            ? html`<${Empty}>Nothing has changed since the console started.<//>`
            : html`<ol class="changes">${changes.slice(0, 8).map(
                  (change) => html`<li key=${change.at + change.text}><time>${time(change.at)}</time>
                    <${Badge} word=${change.kind} tone="plain" /><span>${change.text}</span></li>`,
                )}</ol>
                <a href="#/history">All of them</a>`}
        </section>
      </div>
      ${status.coordinators.length > 1 &&
      html`<section class="card"><h2>Coordinators</h2><div class="scroll" tabindex="0" role="group" aria-label="Coordinators"><table>
        <thead><tr><th>Address</th><th>State</th><th>Note</th></tr></thead>
        <tbody>${status.coordinators.map(
          (one) => html`<tr key=${one.address}><td><code>${one.address}</code></td><td><${Badge} word=${one.state} /></td>
            <td>${one.note}</td></tr>`,
        )}</tbody></table></div></section>`}
      ${status.pushers.length + status.pushers_not_named.length > 0 &&
      html`<section class="card"><h2>Pushers</h2><div class="scroll" tabindex="0" role="group" aria-label="Pushers"><table>
        <thead><tr><th>Pusher</th><th>Address</th><th>State</th><th class="figure">Position</th><th>Note</th></tr></thead>
        <tbody>${status.pushers.map(
          (pusher) => html`<tr key=${pusher.pusher}><td>${pusher.pusher}</td><td><code>${pusher.address}</code></td>
            <td><${Badge} word=${pusher.state} /></td><td class="figure">${count(pusher.position)}</td>
            <td>${pusher.note}</td></tr>`,
        )}${status.pushers_not_named.map(
          (one) => html`<tr key=${one.address}><td></td><td><code>${one.address}</code></td><td><${Badge} word=${one.state} /></td>
            <td class="figure"></td><td>not heard by the coordinator${one.note && `; ${one.note}`}</td></tr>`,
        )}</tbody></table></div></section>`}
    </div>
    ${open === "switchover" && html`<${Switchover} status=${status} onClose=${close} />`}
    ${open === "pause" && html`<${Pause} status=${status} onClose=${close} />`}
  <//>`;
}
