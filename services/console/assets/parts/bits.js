// Small parts that every view uses.

import { html } from "../vendor/htm-preact.js";
import { Icon } from "./icons.js";

const TONES = {
  primary: "good",
  passive: "good",
  active: "good",
  done: "good",
  silent: "bad",
  "not reached": "bad",
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

// What this console can't reach: how to see it all the same.
export const Elsewhere = ({ what, setting, commands }) =>
  html`<section class="card prose"><h2>This console sees no ${what}</h2>
    <p>They lie on the machines of the services. Where they are on the console's own machine, name their folder by
      <code>${setting}</code> and start it again. Elsewhere, on each machine:</p>
    <pre tabindex="0">${commands.join("\n")}</pre></section>`;

export const Page = ({ title, note, actions, children }) =>
  html`<header class="page-head">
      <div><h1>${title}</h1>${note && html`<p class="note">${note}</p>`}</div>
      <div class="actions">${actions}</div>
    </header>
    ${children}`;
