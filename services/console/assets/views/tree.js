// The tree, drawn: each level a column, each box as high as it has members. What is too small to see is one box with
// its sum, so there are never more than BOXES_MAX. A box that is opened asks for its front line, and nothing else.

import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { hierarchy, partition } from "../vendor/d3-hierarchy.js";
import { get } from "../lib/api.js";
import { color } from "../lib/colors.js";
import { count, plural, volume } from "../lib/format.js";
import { Empty, Page, Trouble } from "../parts/bits.js";
import { Find, Path, Tabs } from "./members.js";

export const BOXES_MAX = 2000;
const CHILDREN_MAX = 120;
const OPEN_AT_FIRST = 5;
const HEIGHT_MIN = 3; // of a box that is drawn by itself
const DEPTH_MIN = 3;
const hundredths = (text) => Math.round(Number(text) * 100);

const box = (member) => ({
  id: member.member_id, members: member.downline_count + 1, gv: hundredths(member.gv), pv: hundredths(member.pv),
  rank: member.rank, status: member.status, children: null, open: false,
});

async function load(node) {
  if (node.children || node.members <= 1) return;
  const asked = { id: node.id, sort: "downline_count", descending: 1, size: CHILDREN_MAX };
  const found = await get("/api/frontline", asked);
  node.children = found.members.map(box);
  node.legs = found.total_count;
}

// What is drawn of a node's children where the node is so high: the others are one box with their sum.
function shown(node, height, room) {
  if (!node.open || !node.children) return null;
  const drawn = node.children.slice(0, room).filter((child) => (child.members / node.members) * height >= HEIGHT_MIN);
  const rest = {
    members: node.members - 1 - drawn.reduce((sum, one) => sum + one.members, 0),
    gv: node.gv - node.pv - drawn.reduce((sum, one) => sum + one.gv, 0),
    legs: node.legs - drawn.length,
    rest: true,
  };
  return rest.legs > 0 ? [...drawn, rest] : drawn;
}

export function layout(root, width, height) {
  let left = BOXES_MAX - 1;
  const visible = (node, high) => {
    const children = node.rest ? null : shown(node, high, Math.max(left - 1, 0));
    left -= children?.length ?? 0;
    return { node, children: children?.map((child) => visible(child, (child.members / node.members) * high)) };
  };
  const tree = hierarchy(visible(root, height)).sum((one) => (one.children ? 1 : one.node.members));
  const columns = Math.max(tree.height + 1, DEPTH_MIN);
  // d3 lays levels out by its second number: here they go from left to right.
  partition().size([height, (width / columns) * (tree.height + 1)])(tree);
  return tree.descendants();
}


function draw(canvas, boxes, chosen) {
  const scale = devicePixelRatio || 1;
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
  if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = "12px system-ui, sans-serif";
  pen.textBaseline = "middle";
  const fills = ["--line-1", "--line-2", "--line-5", "--line-4", "--line-3", "--line-6"].map(color);
  const [ground, text, border] = ["--raised", "--text", "--border"].map(color);
  for (const one of boxes) {
    const { node } = one.data;
    const [x, y, w, h] = [one.y0, one.x0, one.y1 - one.y0 - 1, Math.max(one.x1 - one.x0 - 0.7, 0.7)];
    pen.globalAlpha = node.rest ? 1 : 0.18 + 0.3 * Math.min(node.rank / 8, 1);
    pen.fillStyle = node.rest ? ground : fills[one.depth % fills.length];
    pen.fillRect(x, y, w, h);
    pen.globalAlpha = 1;
    if (h > 5) {
      pen.strokeStyle = one === chosen ? text : border;
      pen.lineWidth = one === chosen ? 2 : 1;
      pen.strokeRect(x + 0.5, y + 0.5, w - 1, h - 1);
    } else if (one === chosen) {
      pen.fillStyle = text;
      pen.fillRect(x, y, w, Math.max(h, 2));
    }
    if (h >= 15 && w > 30) {
      pen.save();
      pen.beginPath();
      pen.rect(x, y, w - 4, h);
      pen.clip();
      pen.fillStyle = text;
      pen.fillText(node.rest ? `${plural(node.legs, "more leg")}: ${count(node.members)}` : node.id, x + 7, y + Math.min(h / 2, 14));
      if (h >= 34 && !node.rest) pen.fillText(`${plural(node.members, "member")} · ${volume(node.gv)}`, x + 7, y + Math.min(h / 2, 14) + 17);
      pen.restore();
    }
  }
}

const facts = (one) => [
  `${plural(one.members, "member")} in the leg`, `group volume ${volume(one.gv)}`, `personal ${volume(one.pv)}`,
  `rank ${one.rank}`, one.status || "no status",
].join(" · ");

export function Tree({ rest: [id = ""] }) {
  const canvas = useRef(null);
  const held = useRef({ root: null, boxes: [], chosen: null });
  const [problem, setProblem] = useState(null);
  const [told, setTold] = useState(null);
  const [round, again] = useState(0);

  const paint = () => {
    const { root } = held.current;
    if (!root || !canvas.current) return;
    const boxes = layout(root, canvas.current.clientWidth, canvas.current.clientHeight);
    const was = held.current.chosen?.data.node;
    const chosen = boxes.find((one) => one.data.node === was) ?? boxes[0];
    held.current = { root, boxes, chosen };
    draw(canvas.current, boxes, chosen);
    canvas.current.dataset.boxes = boxes.length;
    setTold(chosen.data.node);
  };

  const open = async (node) => {
    if (node.rest) return;
    const began = performance.now();
    try {
      await load(node);
      node.open = !node.open;
      paint();
      canvas.current.dataset.openedMs = Math.round(performance.now() - began);
      setProblem(null);
    } catch (error) {
      setProblem(error);
    }
  };

  useEffect(() => {
    let over = false;
    const began = performance.now();
    setProblem(null);
    held.current = { root: null, boxes: [], chosen: null };
    (async () => {
      try {
        const asked = id || (await get("/api/frontline", { sort: "downline_count", descending: 1, size: 1 })).members[0]?.member_id;
        if (!asked || over) return;
        const { member } = await get("/api/member", { id: asked });
        const root = box(member);
        await load(root);
        if (over) return;
        root.open = true;
        held.current.root = root;
        paint();
        canvas.current.dataset.paintedMs = Math.round(performance.now() - began);
        // The largest legs a level further, one after another, so that there is something to see.
        for (const child of (root.children ?? []).slice(0, OPEN_AT_FIRST)) {
          await load(child);
          if (over) return;
          child.open = child.children !== null;
          paint();
        }
        canvas.current.dataset.ready = "yes";
      } catch (error) {
        if (!over) setProblem(error);
      }
    })();
    const redraw = () => paint();
    const resized = new ResizeObserver(redraw);
    resized.observe(canvas.current);
    document.addEventListener("fasttree:theme", redraw);
    return () => {
      over = true;
      resized.disconnect();
      document.removeEventListener("fasttree:theme", redraw);
    };
  }, [id, round]);

  const choose = (one) => {
    if (!one) return;
    held.current.chosen = one;
    draw(canvas.current, held.current.boxes, one);
    setTold(one.data.node);
  };
  const at = (event) => {
    const place = canvas.current.getBoundingClientRect();
    const [x, y] = [event.clientX - place.left, event.clientY - place.top];
    return held.current.boxes.find((one) => x >= one.y0 && x < one.y1 && y >= one.x0 && y < one.x1);
  };
  const key = (event) => {
    const { chosen } = held.current;
    if (!chosen) return;
    const row = chosen.parent?.children ?? [chosen];
    const place = row.indexOf(chosen);
    const next = { ArrowDown: row[place + 1], ArrowUp: row[place - 1], ArrowLeft: chosen.parent, ArrowRight: chosen.children?.[0] };
    if (event.key === "Enter" || event.key === " ") open(chosen.data.node);
    else if (event.key === "ArrowRight" && !chosen.children) open(chosen.data.node);
    else if (event.key in next) choose(next[event.key]);
    else return;
    event.preventDefault();
  };

  return html`<${Page} title=${id ? `Tree of ${id}` : "Tree"} note="Each box is as high as its leg has members; a stronger colour is a higher rank."
    actions=${html`<${Find} room="tree" />${id && html`<${Tabs} id=${id} now="tree" />`}`}>
    ${id && html`<${Path} id=${id} room="tree" />`}
    <${Trouble} problem=${problem} onAgain=${() => again((before) => before + 1)} />
    <section class="card tree-wrap">
      <canvas ref=${canvas} class="tree" tabindex="0" role="application"
        aria-label="The tree. Arrows move, Enter opens or closes a box." aria-describedby="tip"
        onMouseMove=${(event) => choose(at(event))}
        onClick=${(event) => { const one = at(event); if (one) { choose(one); open(one.data.node); } }}
        onKeyDown=${key}></canvas>
      <div class="tip" id="tip" aria-live="polite">
        ${!told ? html`<${Empty}>${problem ? "Nothing to draw yet." : "Asking…"}<//>` : told.rest
          ? html`${plural(told.legs, "more leg")} together: ${plural(told.members, "member")}, group volume ${volume(told.gv)}`
          : html`<strong><a href=${`#/members/${encodeURIComponent(told.id)}`}>${told.id}</a></strong>${` · ${facts(told)} · `}
            <a href=${`#/tree/${encodeURIComponent(told.id)}`}>begin here</a>`}
      </div>
    </section>
  <//>`;
}
