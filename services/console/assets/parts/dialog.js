// A question before something is done: what it will do, and the way out. The browser's own dialog keeps the focus.

import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";

export function Confirm({ title, does, children, action, danger, onClose, word }) {
  const box = useRef(null);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const [done, setDone] = useState("");
  useEffect(() => box.current.showModal(), []);

  async function go(event) {
    event.preventDefault();
    setBusy(true);
    setProblem("");
    try {
      setDone((await action(new FormData(event.target))) ?? "");
      if (!box.current) return;
    } catch (error) {
      setProblem(error.message);
    } finally {
      setBusy(false);
    }
  }

  const cancel = () => box.current.close();
  return html`<dialog ref=${box} class="dialog" onClose=${onClose} aria-labelledby="dialog-title">
    <form onSubmit=${go}>
      <h2 id="dialog-title">${title}</h2>
      ${done
        ? html`<p class="done" role="status">${done}</p>`
        : html`<ul class="does">${does.map((line) => html`<li>${line}</li>`)}</ul>
            ${children}`}
      ${problem && html`<p class="refused" role="alert">${problem}</p>`}
      <div class="buttons">
        ${done
          ? html`<button type="button" class="primary" autofocus onClick=${cancel}>Close</button>`
          : html`<button type="button" onClick=${cancel} disabled=${busy}>Cancel</button>
              <button type="submit" class=${danger ? "danger" : "primary"} disabled=${busy}>
                ${busy ? "Working…" : word}
              </button>`}
      </div>
    </form>
  </dialog>`;
}
