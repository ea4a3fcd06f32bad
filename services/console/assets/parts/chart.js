// A graph over time, kept by uPlot: one line for each node. Its colours are the page's.

import { html, useEffect, useRef } from "../vendor/htm-preact.js";
import { color } from "../lib/colors.js";
import { compact } from "../lib/format.js";

const LINES = ["--line-1", "--line-2", "--line-3", "--line-4", "--line-5", "--line-6"];

export function TimeChart({ label, series, data, height = 180 }) {
  const place = useRef(null);
  const chart = useRef(null);
  const shape = series.join("\n");

  useEffect(() => {
    const make = () => {
      chart.current?.destroy();
      const axis = { stroke: color("--muted"), grid: { stroke: color("--border"), width: 1 }, ticks: { show: false } };
      const font = "12px system-ui, sans-serif";
      chart.current = new window.uPlot(
        {
          width: Math.max(place.current.clientWidth, 200),
          height,
          legend: { live: false },
          cursor: { y: false, points: { size: 7 } },
          scales: { y: { range: (_, least, most) => [0, Math.max(most ?? 0, 4) * 1.1] } },
          axes: [
            { ...axis, font, space: 70 },
            { ...axis, font, size: 46, values: (_, ticks) => ticks.map(compact) },
          ],
          series: [
            {},
            ...series.map((name, at) => ({
              label: name,
              stroke: color(LINES[at % LINES.length]),
              width: 2,
              dash: at >= LINES.length ? [6, 4] : undefined,
              points: { show: false },
              spanGaps: false,
            })),
          ],
        },
        data,
        place.current,
      );
    };
    make();
    const resized = new ResizeObserver(() => {
      chart.current?.setSize({ width: Math.max(place.current.clientWidth, 200), height });
    });
    resized.observe(place.current);
    document.addEventListener("fasttree:theme", make);
    return () => {
      resized.disconnect();
      document.removeEventListener("fasttree:theme", make);
      chart.current?.destroy();
      chart.current = null;
    };
  }, [shape]);

  useEffect(() => chart.current?.setData(data), [data]);

  return html`<figure class="chart" role="img" aria-label=${label}><div ref=${place}></div></figure>`;
}
