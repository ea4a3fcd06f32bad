// The pages there are, and whom each is for.

import { Cluster } from "./cluster.js";
import { Downline } from "./downline.js";
import { DrillView } from "./drill.js";
import { History } from "./history.js";
import { Imports } from "./imports.js";
import { Members } from "./members.js";
import { Periods } from "./periods.js";
import { Runbook } from "./runbook.js";
import { Tree } from "./tree.js";
import { Updates } from "./updates.js";

const operators = (session) => session.operator;
const everybody = () => true;

export const ROOMS = [
  { name: "", title: "Cluster", icon: "cluster", view: Cluster, shown: operators },
  { name: "imports", title: "Imports", icon: "imports", view: Imports, shown: operators },
  { name: "updates", title: "Updates", icon: "updates", view: Updates, shown: operators },
  { name: "periods", title: "Periods", icon: "periods", view: Periods, shown: operators },
  { name: "history", title: "History", icon: "history", view: History, shown: operators },
  { name: "drill", title: "Drill", icon: "drill", view: DrillView, shown: operators },
  { name: "runbook", title: "Runbook", icon: "warn", view: Runbook, shown: operators },
  { name: "members", title: "Members", icon: "charts", view: Members, shown: everybody },
  { name: "tree", title: "Tree", icon: "tree", view: Tree, shown: everybody },
  { name: "downline", title: "Downline", icon: "table", view: Downline, shown: everybody },
];

export function roomOf(name, session) {
  const open = ROOMS.filter((room) => room.shown(session));
  return open.find((room) => room.name === name) ?? open[0];
}
