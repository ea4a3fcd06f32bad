// A downline as a table: filtered, sorted, with the columns that somebody wants; ten thousand rows and more, of which
// those in sight are drawn; as a file.

import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { download, get } from "../lib/api.js";
import { useAsked } from "../lib/store.js";
import { amount, count, plural } from "../lib/format.js";
import { Page, Trouble } from "../parts/bits.js";
import { Icon } from "../parts/icons.js";
import { Sheet } from "../parts/sheet.js";
import { Find, Path, Tabs } from "./members.js";

const PAGE = 1000;
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
const WIDTHS = { member_id: 130, sponsor_id: 130, level: 70, rank: 70, joined_on: 110 }; // px
const kind = (name) => (FIGURES.has(name) ? "figure" : "");
const width = (name) => WIDTHS[name] ?? (name in TITLES ? 100 : 160);
const cell = (member, name) => name === "member_id"
  ? html`<a href=${`#/members/${encodeURIComponent(member.member_id)}`}>${member.member_id}</a>`
  : AMOUNTS.has(name) ? amount(member[name]) : member[name];

export function Downline({ rest: [id = ""] }) {
  const [filter, setFilter] = useState(/levels=1/.test(location.hash) ? { max_level: "1" } : {});
  const [sort, setSort] = useState({ sort: "gv", descending: 1 });
  const [columns, setColumns] = useState(AT_FIRST);
  const [rows, setRows] = useState({ of: "", members: [], token: "", total: null, as_of: null });
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  const tree = useAsked((signal) => get("/api/tree", {}, signal), []);
  const asked = { id, ...filter, ...sort, columns: columns.join("\n"), size: PAGE };
  const key = JSON.stringify(asked);
  const round = useRef(0);

  async function more(token) {
    if (busy && token) return;
    const mine = ++round.current; // what was asked before it counts no more, whatever comes of it
    setBusy(true);
    try {
      const found = await get("/api/downline", { ...asked, page_token: token });
      if (round.current !== mine) return;
      setRows((before) => ({
        of: key, members: token ? [...before.members, ...found.members] : found.members,
        token: found.next_page_token, total: found.total_count, as_of: found.as_of,
      }));
      setProblem(null);
    } catch (error) {
      if (round.current === mine) setProblem(error);
    } finally {
      if (round.current === mine) setBusy(false);
    }
  }

  useEffect(() => {
    const timer = setTimeout(() => more(""), 150);
    return () => clearTimeout(timer);
  }, [key]);

  const personal = new Set((tree.value?.columns ?? []).filter((one) => one.personal).map((one) => one.name));
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
    <${Sheet} of=${key} members=${rows.members} total=${rows.total} columns=${columns} cell=${cell} kind=${kind} width=${width}
      onNear=${rows.of === key && rows.token && !busy && !problem ? () => more(rows.token) : null}
      sorted=${(name) => (sort.sort === name ? (sort.descending ? "descending" : "ascending") : undefined)}
      head=${(name) => personal.has(name) ? TITLES[name] ?? name : html`<button onClick=${() => order(name)}>${TITLES[name] ?? name}${sort.sort === name ? (sort.descending ? " ↓" : " ↑") : ""}</button>`} />
  <//>`;
}
