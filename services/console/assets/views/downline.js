// A downline as a table: filtered, sorted, with the columns that somebody wants; ten thousand rows and more, of which
// those in sight are drawn; as a file.

import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { download, get } from "../lib/api.js";
import { useAsked } from "../lib/store.js";
import { amount, count, plural } from "../lib/format.js";
import { Page, Trouble } from "../parts/bits.js";
import { Icon } from "../parts/icons.js";
import { Find, Path, Tabs } from "./members.js";

const PAGE = 1000;
const ROW_PX = 36;
const SPARE = 12;
const COLUMNS = ["member_id", "sponsor_id", "level", "kind", "status", "rank", "joined_on", "pv", "gv", "downline_count"];
const AT_FIRST = ["member_id", "level", "status", "rank", "joined_on", "pv", "gv", "downline_count"];
const FIGURES = new Set(["level", "rank", "pv", "gv", "downline_count"]);
const AMOUNTS = new Set(["pv", "gv"]);
const TITLES = {
  member_id: "Member", sponsor_id: "Sponsor", level: "Level", kind: "Kind", status: "Status", rank: "Rank",
  joined_on: "Joined", pv: "PV", gv: "GV", downline_count: "Below",
};
const FILTERS = [
  ["max_level", "Levels", "number"], ["status", "Status", "text"], ["min_rank", "Rank from", "number"],
  ["min_gv", "GV from", "text"], ["joined_from", "Joined from", "date"], ["joined_to", "to", "date"],
];

export function Downline({ rest: [id = ""] }) {
  const [filter, setFilter] = useState(/levels=1/.test(location.hash) ? { max_level: "1" } : {});
  const [sort, setSort] = useState({ sort: "gv", descending: 1 });
  const [columns, setColumns] = useState(AT_FIRST);
  const [rows, setRows] = useState({ members: [], token: "", total: null, as_of: null });
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  const [top, setTop] = useState(0);
  const tree = useAsked((signal) => get("/api/tree", {}, signal), []);
  const place = useRef(null);
  const asked = { id, ...filter, ...sort, columns: columns.join("\n"), size: PAGE };
  const key = JSON.stringify(asked);
  const round = useRef("");

  async function more(token) {
    if (busy && token) return;
    const mine = key;
    round.current = mine;
    setBusy(true);
    try {
      const found = await get("/api/downline", { ...asked, page_token: token });
      if (round.current !== mine) return;
      setRows((before) => ({
        members: token ? [...before.members, ...found.members] : found.members,
        token: found.next_page_token, total: found.total_count, as_of: found.as_of,
      }));
      setProblem(null);
    } catch (error) {
      if (round.current === mine) setProblem(error);
    } finally {
      setBusy(false);
    }
  }

  useEffect(() => {
    const timer = setTimeout(() => more(""), 150);
    if (place.current) place.current.scrollTop = 0;
    return () => clearTimeout(timer);
  }, [key]);

  const scrolled = () => setTop(place.current.scrollTop);
  // After a page too: who is at its end by then scrolls no further, and no event comes.
  useEffect(() => {
    const end = top + 3 * (place.current?.clientHeight ?? 0);
    if (rows.token && !busy && !problem && end > rows.members.length * ROW_PX) more(rows.token);
  }, [top, rows, busy, problem]);
  const high = place.current?.clientHeight ?? 600;
  const first = Math.max(Math.floor(top / ROW_PX) - SPARE, 0);
  const last = Math.min(Math.ceil((top + high) / ROW_PX) + SPARE, rows.members.length);
  const all = [...COLUMNS, ...(tree.value?.columns ?? []).map((one) => one.name)];
  const order = (name) =>
    setSort(sort.sort === name ? { sort: name, descending: sort.descending ? 0 : 1 } : { sort: name, descending: FIGURES.has(name) ? 1 : 0 });
  const save = (format) =>
    download("/api/export", { ...asked, format }, `downline-${id || "all"}.${format}`).catch(setProblem);

  return html`<${Page} title=${id ? `Downline of ${id}` : "Downline"}
    note=${rows.total === null ? "" : `${plural(rows.total, "member")}, as of import ${rows.as_of.import_id}, position ${count(rows.as_of.position)}.`}
    actions=${html`<${Find} room="downline" />${id && html`<${Tabs} id=${id} now="downline" />`}`}>
    ${id && html`<${Path} id=${id} room="downline" />`}
    <div class="filters">
      ${FILTERS.map(([name, title, kind]) => html`<label>${title} <input type=${kind} name=${name} size="8" min="0"
        value=${filter[name] ?? ""} onInput=${(event) => setFilter({ ...filter, [name]: event.target.value.trim() })} /></label>`)}
      <label>Kind <select onChange=${(event) => setFilter({ ...filter, kind: event.target.value })}>
        <option value="">any</option><option>distributor</option><option>customer</option></select></label>
    </div>
    <div class="filters">
      <details class="chooser"><summary class="button">Columns</summary>
        <div class="choices">${all.map((name) => html`<label><input type="checkbox" checked=${columns.includes(name)}
          disabled=${name === "member_id"}
          onChange=${() => setColumns(all.filter((one) => (one === name) !== columns.includes(one)))} /> ${TITLES[name] ?? name}</label>`)}</div>
      </details>
      <button onClick=${() => save("csv")}><${Icon} name="down" />CSV</button>
      <button onClick=${() => save("xlsx")}><${Icon} name="down" />Excel</button>
      <button onClick=${() => save("arrow")}><${Icon} name="down" />Arrow</button>
      ${busy && html`<span class="note" role="status">Asking…</span>`}
    </div>
    <${Trouble} problem=${problem} onAgain=${() => more("")} />
    <div class="rows" ref=${place} tabindex="0" role="group" aria-label="Rows" onScroll=${scrolled}><table aria-rowcount=${rows.total ?? -1}>
      <thead><tr>${columns.map((name) => html`<th class=${FIGURES.has(name) ? "figure" : ""}
        aria-sort=${sort.sort === name ? (sort.descending ? "descending" : "ascending") : undefined}>
        <button onClick=${() => order(name)}>${TITLES[name] ?? name}${sort.sort === name ? (sort.descending ? " ↓" : " ↑") : ""}</button></th>`)}</tr></thead>
      <tbody>
        ${first > 0 && html`<tr aria-hidden="true"><td colspan=${columns.length} style=${{ height: `${first * ROW_PX}px` }}></td></tr>`}
        ${rows.members.slice(first, last).map((member, at) => html`<tr key=${member.member_id} aria-rowindex=${first + at + 1}>
          ${columns.map((name) => html`<td class=${FIGURES.has(name) ? "figure" : ""}>${name === "member_id"
            ? html`<a href=${`#/members/${encodeURIComponent(member.member_id)}`}>${member.member_id}</a>` : AMOUNTS.has(name) ? amount(member[name]) : member[name]}</td>`)}</tr>`)}
        ${last < rows.members.length && html`<tr aria-hidden="true"><td colspan=${columns.length} style=${{ height: `${(rows.members.length - last) * ROW_PX}px` }}></td></tr>`}
      </tbody></table></div>
  <//>`;
}
