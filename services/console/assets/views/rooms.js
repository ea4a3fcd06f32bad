// The pages there are, and whom each is for.

import { Audit } from "./audit.js";
import { Cluster } from "./cluster.js";
import { Downline } from "./downline.js";
import { DrillView } from "./drill.js";
import { History } from "./history.js";
import { Imports } from "./imports.js";
import { Logs } from "./logs.js";
import { Members } from "./members.js";
import { Periods } from "./periods.js";
import { Runbook } from "./runbook.js";
import { Tree } from "./tree.js";
import { Updates } from "./updates.js";

const operators = (session) => session.acts;
const sees = (what) => (session) => session.sees.includes(what);
const everybody = () => true;

export const ROOMS = [
  { name: "", title: "Cluster", icon: "cluster", view: Cluster, shown: sees("cluster") },
  { name: "imports", title: "Imports", icon: "imports", view: Imports, shown: sees("cluster") },
  { name: "updates", title: "Updates", icon: "updates", view: Updates, shown: sees("updates") },
  { name: "periods", title: "Periods", icon: "periods", view: Periods, shown: sees("cluster") },
  { name: "history", title: "History", icon: "history", view: History, shown: sees("cluster") },
  { name: "drill", title: "Drill", icon: "drill", view: DrillView, shown: operators },
  { name: "audit", title: "Audit", icon: "audit", view: Audit, shown: sees("audit") },
  { name: "logs", title: "Logs", icon: "logs", view: Logs, shown: sees("logs") },
  { name: "runbook", title: "Runbook", icon: "warn", view: Runbook, shown: sees("cluster") },
  { name: "members", title: "Members", icon: "charts", view: Members, shown: everybody },
  { name: "tree", title: "Tree", icon: "tree", view: Tree, shown: everybody },
  { name: "downline", title: "Downline", icon: "table", view: Downline, shown: everybody },
];

export function roomOf(name, session) {
  const open = ROOMS.filter((room) => room.shown(session));
  return open.find((room) => room.name === name) ?? open[0];
}
