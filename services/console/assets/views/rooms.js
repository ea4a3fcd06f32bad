// The pages there are, and whom each is for.

import { Cluster } from "./cluster.js";
import { History } from "./history.js";
import { Runbook } from "./runbook.js";

const operators = (session) => session.operator;

export const ROOMS = [
  { name: "", title: "Cluster", icon: "cluster", view: Cluster, shown: operators },
  { name: "history", title: "History", icon: "history", view: History, shown: operators },
  { name: "runbook", title: "Runbook", icon: "updates", view: Runbook, shown: operators },
];

export function roomOf(name, session) {
  const open = ROOMS.filter((room) => room.shown(session));
  return open.find((room) => room.name === name) ?? open[0];
}
