// What is known now, and who is told when that changes.

import { useEffect, useState } from "../vendor/htm-preact.js";
import { follow } from "./api.js";

const STEPS_MAX = 86_400;

export const live = {
  state: null, // as /api/state has it
  lag: [], // steps of the graph, oldest first
  heardAt: 0,
  problem: null, // why there is no news; null while there is
};

const listeners = new Set();
let stop = null;

function tell() {
  for (const listener of listeners) listener();
}

export function begin() {
  stop?.();
  live.lag = [];
  stop = follow(
    "/api/events",
    (name, data) => {
      if (name === "lag") {
        const last = live.lag.at(-1)?.at ?? 0;
        live.lag = [...live.lag, ...data.filter((step) => step.at > last)].slice(-STEPS_MAX);
      } else if (name === "state") {
        live.state = data;
        live.heardAt = Date.now();
        live.problem = null;
        tell();
      }
    },
    (problem) => {
      live.problem = problem;
      tell();
    },
  );
}

export function useLive() {
  const [, again] = useState(0);
  useEffect(() => {
    const listener = () => again((count) => count + 1);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, []);
  return live;
}

// Something that is asked for, and again every so often where that is given: { value, problem, busy, again }.
export function useAsked(ask, needs, everyMs = 0) {
  const [result, set] = useState({ value: null, problem: null, busy: true });
  const [round, again] = useState(0);
  useEffect(() => {
    const abort = new AbortController();
    set((before) => ({ ...before, busy: true }));
    ask(abort.signal)
      .then((value) => !abort.signal.aborted && set({ value, problem: null, busy: false }))
      .catch((problem) => !abort.signal.aborted && set((before) => ({ value: before.value, problem, busy: false })));
    return () => abort.abort();
  }, [...needs, round]);
  useEffect(() => {
    if (!everyMs) return undefined;
    const timer = setInterval(() => !document.hidden && again((count) => count + 1), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return { ...result, again: () => again((count) => count + 1) };
}
