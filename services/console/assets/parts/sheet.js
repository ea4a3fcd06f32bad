// A long table in a box of its own, of which the rows in sight and some beside them are drawn. A step of scrolling that
// stays within a block of rows changes nothing, and a row that is drawn is never drawn again: what a frame costs is the
// rows that came into sight in it.

import { html, useEffect, useMemo, useRef, useState } from "../vendor/htm-preact.js";

export const ROW_PX = 36; // as base.css has it
const BLOCK = 6; // rows; the window moves by so many
const SPARE = 12; // rows, drawn beyond both edges
const AHEAD = 3; // heights of the box: so near the end, more is asked for

// Draws rows, those that were drawn the time before as they are: preact passes over what it was given already.
function drawer(columns, cell, kind) {
  let drawn = new Map();
  const row = (member, place) => html`<tr key=${member.member_id} aria-rowindex=${place}>
    ${columns.map((name) => html`<td class=${kind(name)}>${cell(member, name)}</td>`)}</tr>`;
  return (members, first) => {
    drawn = new Map(members.map((member, at) => [member, drawn.get(member) ?? row(member, first + at + 1)]));
    return [...drawn.values()];
  };
}

const gap = (name, columns, rows) => rows > 0
  && html`<tr key=${name} aria-hidden="true"><td colspan=${columns.length} style=${{ height: `${rows * ROW_PX}px` }}></td></tr>`;

// `members`: those that are there; `onNear`: asked for more, as often as somebody is near their end; null: all are there.
// `head(name)`, `cell(member, name)`: what is in a head and a cell; `kind(name)`: their class; `width(name)`: in px;
// `sorted(name)`: as aria has it. Whatever `of` names anew is shown from its beginning.
export function Sheet({ of, members, total, columns, head, cell, kind, width, sorted, onNear }) {
  const box = useRef(null);
  const [block, setBlock] = useState(0);
  const [high, setHigh] = useState(600);
  useEffect(() => {
    const sized = new ResizeObserver(([one]) => setHigh(one.contentRect.height));
    sized.observe(box.current);
    return () => sized.disconnect();
  }, []);
  useEffect(() => {
    box.current.scrollTop = 0;
    setBlock(0);
  }, [of]);
  const scrolled = () => setBlock(Math.floor(box.current.scrollTop / ROW_PX / BLOCK));
  // After a page too: who is at its end by then scrolls no further, and no event comes.
  useEffect(() => {
    if (onNear && (block + 1) * BLOCK * ROW_PX + AHEAD * high > members.length * ROW_PX) onNear();
  }, [block, high, members, onNear]);
  const rows = useMemo(() => drawer(columns, cell, kind), [columns, of]);
  const first = Math.min(Math.max(block * BLOCK - SPARE, 0), members.length);
  const last = Math.min((block + 1) * BLOCK + Math.ceil(high / ROW_PX) + SPARE, members.length);
  return html`<div class="rows" ref=${box} tabindex="0" role="group" aria-label="Rows" onScroll=${scrolled}>
    <table aria-rowcount=${total ?? -1} style=${{ minWidth: `${columns.reduce((sum, name) => sum + width(name), 0)}px` }}>
      <colgroup>${columns.map((name) => html`<col style=${{ width: `${width(name)}px` }} />`)}</colgroup>
      <thead><tr>${columns.map((name) => html`<th class=${kind(name)} aria-sort=${sorted(name)}>${head(name)}</th>`)}</tr></thead>
      <tbody>
        ${gap("above", columns, first)}
        ${rows(members.slice(first, last), first)}
        ${gap("below", columns, members.length - last)}
      </tbody></table></div>`;
}
