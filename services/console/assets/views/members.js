// A leader's page: who stands above, the member itself, each leg with its totals, the downline in charts.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { follow, get } from "../lib/api.js";
import { useAsked } from "../lib/store.js";
import { amount, compact, count, plural, time, volume } from "../lib/format.js";
import { Badge, Empty, Fact, Page, Trouble } from "../parts/bits.js";
import { Icon } from "../parts/icons.js";

const LEGS_SHOWN = 24;
const GROUPS_SHOWN = 12;
const DAYS = 14;
const ORDERS_SHOWN = 50;
const LIVE_MS = 3000; // orders show in a leader's totals this soon
const number = (text) => Number(text);

export function Find({ room = "members" }) {
  const [prefix, setPrefix] = useState("");
  const { value, problem } = useAsked(
    async (signal) => {
      await new Promise((resolve) => setTimeout(resolve, 150)); // while somebody types
      return prefix && !signal.aborted ? get("/api/search", { prefix }, signal) : null;
    },
    [prefix],
  );
  const open = (event) => {
    event.preventDefault();
    // Who is found by name alone: the first of that name.
    const [first] = value?.members ?? [];
    const known = !first?.name || value.members.some((one) => one.member_id === prefix);
    const id = known || !first.name.toLowerCase().startsWith(prefix.toLowerCase()) ? prefix : first.member_id;
    if (!id) return;
    location.hash = `#/${room}/${encodeURIComponent(id)}`;
    setPrefix("");
  };
  return html`<form class="search" role="search" onSubmit=${open}>
    <input type="search" list="found" placeholder=${value?.by_name ? "Id or name" : "Member id"}
      aria-label="Find a member by id or name" maxlength="64" value=${prefix} onInput=${(event) => setPrefix(event.target.value.trim())} />
    <datalist id="found">${value?.members.map((one) => html`<option value=${one.member_id}>${one.name ? `${one.name} · ` : ""}${plural(one.downline_count, "member")} below</option>`)}</datalist>
    <button type="submit"><${Icon} name="search" />Open</button>
    ${problem?.status === 401 && html`<span class="refused">${problem.message}</span>`}
  </form>`;
}

export const Tabs = ({ id, now }) => html`<nav class="actions" aria-label="Views of this member">
  ${[["members", "Overview", "charts"], ["tree", "Tree", "tree"], ["downline", "Downline", "table"]].map(
    ([room, title, icon]) => html`<a class="button" href=${`#/${room}/${encodeURIComponent(id)}`}
      aria-current=${room === now ? "page" : undefined}><${Icon} name=${icon} />${title}</a>`,
  )}
</nav>`;

export function Path({ id, room }) {
  const { value } = useAsked((signal) => get("/api/upline", { id }, signal), [id]);
  if (!value) return null;
  const above = [...value.members].reverse();
  const shown = above.length > 8 ? [...above.slice(0, 2), null, ...above.slice(-5)] : above;
  return html`<ol class="path" aria-label="Upline">
    ${shown.map((one) => one
      ? html`<li><a href=${`#/${room}/${encodeURIComponent(one.member_id)}`}>${one.member_id}</a></li>`
      : html`<li>${plural(above.length - 7, "more", "more")}</li>`)}
    <li aria-current="true"><strong>${id}</strong></li>
  </ol>`;
}

function Change({ now, before }) {
  if (before === undefined || before === 0) return html`<span class="note">–</span>`;
  const share = ((now - before) / Math.abs(before)) * 100;
  const word = share >= 0 ? "up" : "down";
  return html`<span class=${word}>${word} ${Math.abs(share).toFixed(share > -10 && share < 10 ? 1 : 0)} %</span>`;
}

function Volumes({ volumes }) {
  const rows = [...volumes].sort((a, b) => a.volume_type.localeCompare(b.volume_type) || b.period.localeCompare(a.period));
  if (rows.length === 0) return html`<${Empty}>No volumes.<//>`;
  return html`<div class="scroll" tabindex="0" role="group" aria-label="Volumes"><table>
    <thead><tr><th>Period</th><th>Type</th><th class="figure">Personal</th><th class="figure">Group</th>
      <th class="figure">Against before</th></tr></thead>
    <tbody>${rows.map((one, at) => {
      const next = rows[at + 1];
      const before = next?.volume_type === one.volume_type ? number(next.group) : undefined;
      return html`<tr><td class="when">${one.period}</td><td>${one.volume_type}</td><td class="figure">${amount(one.personal)}</td>
        <td class="figure">${amount(one.group)}</td><td class="figure"><${Change} now=${number(one.group)} before=${before} /></td></tr>`;
    })}</tbody></table></div>`;
}

function Card({ found }) {
  const { member, columns } = found;
  const further = Object.entries(columns);
  return html`<section class="card"><h2>Member ${member.member_id} <${Badge} word=${member.kind || "distributor"} tone="plain" /></h2>
    <dl class="facts">
      <${Fact} name="Status">${member.status || "–"}<//>
      <${Fact} name="Rank">${member.rank}<//>
      <${Fact} name="Joined">${member.joined_on || "–"}<//>
      <${Fact} name="Sponsor">${member.sponsor_id
        ? html`<a href=${`#/members/${encodeURIComponent(member.sponsor_id)}`}>${member.sponsor_id}</a>` : "none"}<//>
      <${Fact} name="Placed under">${member.placement_id
        ? html`<a href=${`#/members/${encodeURIComponent(member.placement_id)}`}>${member.placement_id}</a>, leg ${member.placement_leg}` : "–"}<//>
      <${Fact} name="Members below">${count(member.downline_count)}<//>
      <${Fact} name="Personal volume">${amount(member.pv)}<//>
      <${Fact} name="Group volume">${amount(member.gv)}<//>
      ${further.map(([name, value]) => html`<${Fact} name=${name}>${value || "–"}<//>`)}
    </dl></section>`;
}

function Legs({ id }) {
  const { value, problem, again } = useAsked(
    (signal) => get("/api/frontline", { id, sort: "gv", descending: 1, size: LEGS_SHOWN }, signal), [id], LIVE_MS);
  if (!value) return problem ? html`<${Trouble} problem=${problem} onAgain=${again} />` : html`<${Empty}>Asking…<//>`;
  const most = Math.max(...value.members.map((one) => number(one.gv)), 1);
  return html`<section class="card"><h2>${id ? "Front line" : "Roots"}: ${plural(value.total_count, "leg")}</h2>
    ${value.members.length === 0 ? html`<${Empty}>Nobody stands below.<//>` : html`<div class="legs">
      ${value.members.map((one) => html`<a class="leg" key=${one.member_id} href=${`#/members/${encodeURIComponent(one.member_id)}`}>
        <strong><span>${one.member_id}</span><span>${amount(one.gv)}</span></strong>
        <meter min="0" max=${most} value=${Math.max(number(one.gv), 0)} aria-label="Group volume of leg ${one.member_id}"></meter>
        <span class="note">${plural(one.downline_count + 1, "member")} · rank ${one.rank} · ${one.status || "no status"}</span>
      </a>`)}</div>`}
    ${value.total_count > value.members.length && html`<p class="note">${`The largest ${value.members.length} by group volume. `}<a href=${`#/downline/${encodeURIComponent(id)}?levels=1`}>All ${count(value.total_count)}</a></p>`}
  </section>`;
}

function Bars({ title, groups, name }) {
  const shown = groups.slice(0, GROUPS_SHOWN);
  const most = Math.max(...shown.map((one) => one.members), 1);
  return html`<section class="card"><h2>${title}</h2><div class="bars" role="group" aria-label=${title}>
    ${shown.map((one) => html`<span>${name(one.key)}</span>
      <meter min="0" max=${most} value=${one.members} aria-label="${name(one.key)}: ${one.members} members"></meter>
      <span title="${count(one.members)} members, personal volume ${one.pv_hundredths / 100}">${compact(one.members)}</span>`)}
  </div>${groups.length > shown.length && html`<p class="note">and ${groups.length - shown.length} more</p>`}</section>`;
}

function Joined({ id }) {
  const until = new Date().toISOString().slice(0, 10);
  const { value } = useAsked((signal) => get("/api/joined", { id, until, days: DAYS }, signal), [id]);
  if (!value) return null;
  const most = Math.max(...value.days.map((one) => one.members), 1);
  const all = value.days.reduce((sum, one) => sum + one.members, 0);
  return html`<section class="card"><h2>New in the last ${DAYS} days: ${count(all)}</h2>
    <div class="days" role="img" aria-label="New members by day: ${value.days.map((one) => `${one.day} ${one.members}`).join(", ")}">
      ${value.days.map((one) => html`<div title="${one.day}: ${plural(one.members, "member")}">
        <i style=${{ height: `${(one.members / most) * 90}px` }}></i>${one.day.slice(8)}</div>`)}
    </div></section>`;
}

function Summary({ id }) {
  const { value, problem, again } = useAsked((signal) => get("/api/summary", { id }, signal), [id]);
  if (!value) return html`<${Trouble} problem=${problem} onAgain=${again} />`;
  return html`<div class="nodes">
    <${Bars} title="By level" groups=${value.by.level} name=${(key) => key} />
    <${Bars} title="By rank" groups=${value.by.rank} name=${(key) => key} />
    <${Bars} title="By status" groups=${value.by.status} name=${(key) => key || "none"} />
    <${Joined} id=${id} />
  </div>`;
}

function Orders({ id }) {
  const [heard, setHeard] = useState({ orders: [], skipped: 0, problem: null, begun: false });
  useEffect(() => {
    setHeard({ orders: [], skipped: 0, problem: null, begun: false });
    return follow(
      `/api/orders?${new URLSearchParams({ below: id })}`,
      (_, news) => setHeard((before) => {
        const known = new Set(before.orders.map((one) => one.position));
        const fresh = news.orders.filter((one) => !known.has(one.position)).reverse();
        return { orders: [...fresh, ...before.orders].slice(0, ORDERS_SHOWN), skipped: before.skipped + news.skipped, problem: null, begun: true };
      }),
      (problem) => setHeard((before) => ({ ...before, problem })),
    );
  }, [id]);
  const { orders, skipped, problem, begun } = heard;
  return html`<section class="card orders"><header class="card-head"><h2>Orders as they come</h2>
      ${problem ? html`<${Badge} word="reconnecting" tone="warn" />` : begun && html`<${Badge} word="live" tone="good" />`}</header>
    ${problem && html`<p class="refused" role="status">${problem.message}</p>`}
    ${orders.length === 0 ? html`<${Empty}>${begun ? "None yet since this page was opened." : "Asking…"}<//>`
      : html`<div class="scroll" tabindex="0" role="group" aria-label="Orders"><table>
        <thead><tr><th>When</th><th>Member</th><th class="figure">Volume</th><th>Of</th></tr></thead>
        <tbody>${orders.map((one) => html`<tr key=${one.position}><td class="when">${time(one.at)}</td>
          <td><a href=${`#/members/${encodeURIComponent(one.member_id)}`}>${one.member_id}</a></td>
          <td class="figure ${one.amount_hundredths < 0 ? "down" : ""}">${volume(one.amount_hundredths)}</td>
          <td>${[one.volume_type, one.period || "now"].filter(Boolean).join(" ")}</td></tr>`)}</tbody></table></div>`}
    ${skipped > 0 && html`<p class="note">More came than are looked at one by one: ${count(skipped)} updates were passed over here. Totals have all of them.</p>`}
  </section>`;
}

export function Members({ rest: [id = ""], session }) {
  const begins = !id && !session.sees.includes("cluster");
  useEffect(() => {
    if (!begins) return undefined;
    // Who sees one downline alone begins at its top: that is who they are.
    const abort = new AbortController();
    get("/api/frontline", { size: 2 }, abort.signal).then(
      ({ members: [first], total_count: roots }) => {
        if (roots === 1 && !abort.signal.aborted) location.replace(`#/members/${encodeURIComponent(first.member_id)}`);
      },
      () => {}, // the page says what is wrong
    );
    return () => abort.abort();
  }, [begins]);
  const { value, problem, again } = useAsked(
    (signal) => (id ? get("/api/member", { id }, signal) : get("/api/tree", {}, signal)), [id], LIVE_MS);
  const own = value?.member?.member_id === id ? value : null;
  return html`<${Page} title=${id ? `Member ${id}` : "Members"}
    note=${value && `As of import ${value.as_of.import_id}, position ${count(value.as_of.position)}, from ${value.as_of.node}.`}
    actions=${html`<${Find} />${id && html`<${Tabs} id=${id} now="members" />`}`}>
    ${id && html`<${Path} id=${id} room="members" />`}
    <${Trouble} problem=${problem} onAgain=${again} />
    ${!id && value?.members !== undefined && html`<dl class="tiles">
      <div><dt>Members</dt><dd>${count(value.members)}</dd></div>
      <div><dt>Roots</dt><dd>${count(value.roots)}</dd></div>
      <div><dt>Without a placement</dt><dd>${count(value.holding_tank)}</dd></div>
      <div><dt>Current period</dt><dd>${value.periods[0] ?? "–"}</dd></div>
    </dl><br />`}
    ${own && html`<div class="pair top"><${Card} found=${own} />
      <section class="card"><h2>Volumes</h2><${Volumes} volumes=${own.member.volumes} /></section></div>`}
    ${!problem && html`<${Legs} id=${id} /><${Orders} id=${id} /><${Summary} id=${id} />`}
  <//>`;
}
