// The Markdown of this project's own pages: headings, paragraphs, lists, code, tables.

import { html } from "../vendor/htm-preact.js";

const SPAN = /`([^`]+)`|\*\*([^*]+)\*\*|\*([^*]+)\*|\[([^\]]+)\]\(([^)]+)\)/g;

export function inline(text) {
  const parts = [];
  let end = 0;
  for (const found of text.matchAll(SPAN)) {
    parts.push(text.slice(end, found.index));
    const [whole, code, strong, emphasis, label] = found;
    parts.push(code ? html`<code>${code}</code>` : strong ? html`<strong>${strong}</strong>`
      : emphasis ? html`<em>${emphasis}</em>` : label);
    end = found.index + whole.length;
  }
  return [...parts, text.slice(end)];
}

const cells = (line) => line.replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());

function block(text) {
  const lines = text.split("\n");
  if (text.startsWith("```")) return html`<pre><code>${lines.slice(1, -1).join("\n")}</code></pre>`;
  const heading = /^#+ (.*)$/.exec(text);
  if (heading) return html`<h2>${inline(heading[1])}</h2>`;
  if (/^\|.*\|\n\|[-| ]+\|/.test(text)) {
    const [head, , ...rows] = lines;
    return html`<div class="scroll" tabindex="0" role="group" aria-label="Table"><table><thead><tr>${cells(head).map((cell) => html`<th>${inline(cell)}</th>`)}</tr></thead>
      <tbody>${rows.map((row) => html`<tr>${cells(row).map((cell) => html`<td>${inline(cell)}</td>`)}</tr>`)}</tbody></table></div>`;
  }
  if (/^(-|\d+\.) /.test(text)) {
    const items = text.split(/\n(?=(?:-|\d+\.) )/).map((item) => item.replace(/^(-|\d+\.) /, "").replace(/\s*\n\s*/g, " "));
    const list = items.map((item) => html`<li>${inline(item)}</li>`);
    return text.startsWith("-") ? html`<ul>${list}</ul>` : html`<ol>${list}</ol>`;
  }
  return html`<p>${inline(text.replace(/\n/g, " "))}</p>`;
}

export function Markdown({ text }) {
  const blocks = [];
  for (const part of text.trim().split(/(^```[^]*?^```$)/m)) {
    if (part.startsWith("```")) blocks.push(part);
    else blocks.push(...part.replace(/^#.*$/gm, "\n$&\n\n").split(/\n{2,}/).map((one) => one.trim()).filter(Boolean));
  }
  return html`${blocks.map(block)}`;
}
