// Small pictures, drawn by lines in the text's colour.

import { html } from "../vendor/htm-preact.js";

const PATHS = {
  cluster: "M4 5h16v5H4zM4 14h16v5H4zM7.5 7.5h.01M7.5 16.5h.01",
  imports: "M12 3v11m0 0 4-4m-4 4-4-4M4 17v3h16v-3",
  updates: "M5 4h14v16H5zM8.5 9h7M8.5 13h7M8.5 17h4",
  periods: "M4 6h16v14H4zM4 10h16M8 3v4M16 3v4",
  history: "M12 7v5l3 2M4.5 9A8 8 0 1 1 4 12M4 5v4h4",
  tree: "M12 4v4M6 20v-4h12v4M12 8v8M4 20h4M10 20h4M16 20h4M10 4h4",
  table: "M4 5h16v14H4zM4 10h16M4 14.5h16M10 5v14",
  charts: "M4 20V4M4 20h16M8 16v-4M12.5 16V8M17 16v-6",
  orders: "M5 6h15l-1.5 9H7zM5 6 4.4 3H2M9 20h.01M16.5 20h.01",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2M12 20v2M4.9 4.9l1.4 1.4M17.7 17.7l1.4 1.4M2 12h2M20 12h2M4.9 19.1l1.4-1.4M17.7 6.3l1.4-1.4",
  moon: "M20 14.5A8 8 0 0 1 9.5 4 8 8 0 1 0 20 14.5z",
  key: "M15 9a4 4 0 1 0-3.5 4L13 14.5V17h2.5v2.5H20v-3zM8 8h.01",
  check: "M5 12.5 10 17.5 19 7",
  warn: "M12 4 2.5 20h19zM12 10v5M12 17.5v.01",
  swap: "M7 4 3 8l4 4M3 8h14M17 12l4 4-4 4M21 16H7",
  pause: "M8 5v14M16 5v14",
  play: "M7 5v14l11-7z",
  search: "M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM20 20l-4.8-4.8",
  down: "M12 4v12m0 0 5-5m-5 5-5-5M5 20h14",
  back: "M10 5 3 12l7 7M3 12h18",
  drill: "M13 3 5 14h6l-1 7 8-11h-6z",
  audit: "M12 3 5 6v5c0 5 3 8.5 7 10 4-1.5 7-5 7-10V6zM9 12l2.2 2.2L15.5 10",
  logs: "M4 5h16v14H4zM7.5 9.5 10 12l-2.5 2.5M12 15h4.5",
  up: "M12 20V8m0 0-5 5m5-5 5 5M5 4h14",
};

export function Icon({ name }) {
  return html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d=${PATHS[name]} /></svg>`;
}
