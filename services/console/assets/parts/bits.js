// Small parts that every view uses.

import { html } from "../vendor/htm-preact.js";
import { Icon } from "./icons.js";

const TONES = {
  primary: "good",
  passive: "good",
  active: "good",
  done: "good",
  silent: "bad",
  refused: "bad",
  unfit: "bad",
  gone: "bad",
};

export const Badge = ({ word, tone }) => html`<span class="badge ${tone ?? TONES[word] ?? "plain"}">${word}</span>`;

export const Fact = ({ name, children, title }) =>
  html`<div class="fact" title=${title}><dt>${name}</dt><dd>${children}</dd></div>`;

export const Empty = ({ children }) => html`<p class="empty">${children}</p>`;

export function Trouble({ problem, onAgain }) {
  if (!problem) return null;
  return html`<div class="trouble" role="alert">
    <${Icon} name="warn" /><p>${problem.message}</p>
    ${onAgain && html`<button onClick=${onAgain}>Try again</button>`}
  </div>`;
}

export const Page = ({ title, note, actions, children }) =>
  html`<header class="page-head">
      <div><h1>${title}</h1>${note && html`<p class="note">${note}</p>`}</div>
      <div class="actions">${actions}</div>
    </header>
    ${children}`;
