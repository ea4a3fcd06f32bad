// A question before something is done: what it will do, and the way out. The browser's own dialog keeps the focus.

import { html, useLayoutEffect, useRef, useState } from "../vendor/htm-preact.js";

export function Confirm({ title, does, children, action, danger, onClose, word }) {
  const box = useRef(null);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const [done, setDone] = useState("");
  const gone = useRef(false);
  // It is open while it is part of the page, and only its owner takes it away. If the browser closed it by itself
  // first, one who asks again in that moment would find a dialog that is there and hidden.
  useLayoutEffect(() => {
    if (!box.current.open) box.current.showModal();
  });
  useLayoutEffect(() => {
    const shown = box.current;
    return () => {
      gone.current = true; // the event of this closing comes later, when another may be open
      shown.close(); // gives the focus back to where it was
    };
  }, []);
  const leave = (event) => {
    event.preventDefault();
    if (!gone.current) onClose();
  };

  async function go(event) {
    event.preventDefault();
    setBusy(true);
    setProblem("");
    try {
      setDone((await action(new FormData(event.target))) ?? "");
    } catch (error) {
      setProblem(error.message);
    } finally {
      setBusy(false);
    }
  }

  return html`<dialog ref=${box} class="dialog" onCancel=${leave} onClose=${leave} aria-labelledby="dialog-title">
    <form onSubmit=${go}>
      <h2 id="dialog-title">${title}</h2>
      ${done
        ? html`<p class="done" role="status">${done}</p>`
        : html`<ul class="does">${does.map((line) => html`<li>${line}</li>`)}</ul>
            ${children}`}
      ${problem && html`<p class="refused" role="alert">${problem}</p>`}
      <div class="buttons">
        ${done
          ? html`<button type="button" class="primary" autofocus onClick=${leave}>Close</button>`
          : html`<button type="button" onClick=${leave} disabled=${busy}>Cancel</button>
              <button type="submit" class=${danger ? "danger" : "primary"} disabled=${busy}>
                ${busy ? "Working…" : word}
              </button>`}
      </div>
    </form>
  </dialog>`;
}
