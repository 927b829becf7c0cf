// What keys do, and the help that lists them.

import { element } from "./timeline.js";

// Rows of the help: keys and gestures, what they do, and the actions of the keys.
function keyRows(viewer) {
  const { timeline, camera, show, drag } = viewer, far = (event) => (event.shiftKey ? 10 : 1);
  const slide = (x, y) => (event) => (event.shiftKey ? camera.pan(x * 0.5, y * 0.5) : camera.turn(x * 1.5, y * 1.5));
  const near = () => camera.zoom(0.88), view = (name) => () => viewer.look(name);
  const carry = (x, y) => (event) => viewer.selected?.layer === show.main && viewer.carry(viewer.selected, x, y, event.shiftKey);
  return [
    ["Drag, one finger", "orbit"],
    ["Right or Shift drag, two fingers", "pan and zoom"],
    ["Wheel, pinch, + -", "zoom", { "+": near, "=": near, "-": () => camera.zoom(1.14) }],
    ["W A S D", "orbit; with Shift pan", { a: slide(0.1, 0), d: slide(-0.1, 0), w: slide(0, 0.1), s: slide(0, -0.1) }],
    ["1 2 3 0", "front, side, top, reset", { 1: view("front"), 2: view("side"), 3: view("top"), 0: view("start") }],
    show.steps > 1 && ["Space", timeline.live ? "pause and go on" : "play or pause", { " ": () => timeline.toggle() }],
    show.steps > 1 && ["← → Home End", "step, with Shift ten; first, last", {
      ArrowLeft: (event) => timeline.go(timeline.step - far(event)), ArrowRight: (event) => timeline.go(timeline.step + far(event)),
      Home: () => timeline.go(0), End: () => timeline.go(show.steps - 1),
    }],
    show.main && ["J K", "next and previous joint; Escape for none", { j: () => viewer.next(1), k: () => viewer.next(-1) }],
    drag && ["Drag a joint, or Alt ← → ↑ ↓", "the poses that fit its new place; with Shift nearer and away; Escape lets all joints go", {
      "Alt+ArrowLeft": carry(-0.01, 0), "Alt+ArrowRight": carry(0.01, 0), "Alt+ArrowUp": carry(0, -0.01), "Alt+ArrowDown": carry(0, 0.01),
    }],
    show.layers.length > 0 && ["H U", "hypotheses, uncertainty capsules", { h: () => viewer.switch("hypotheses"), u: () => viewer.switch("capsules") }],
    ["?", "this help", { "?": () => showHelp(viewer), Escape: () => (viewer.select(null), drag?.letGo()) }],
  ].filter(Boolean);
}

export function showHelp(viewer) {
  const list = viewer.find("keys-list");
  list.replaceChildren();
  for (const [told, does] of keyRows(viewer)) {
    const term = element("dt"), isKey = (word) => /^(.|Space|Home|End|Alt|Shift)$/.test(word) && word !== "a";
    for (const word of told.split(" ")) term.append(isKey(word) ? Object.assign(element("kbd"), { textContent: word }) : word, " ");
    list.append(term, Object.assign(element("dd"), { textContent: does }));
  }
  viewer.find("keys").showModal();
}

export function answerKey(viewer, event) {
  if (event.ctrlKey || event.metaKey || viewer.find("keys").open) return;
  const inField = /^(SELECT|INPUT)$/.test(event.target.tagName) && event.target.type !== "checkbox";
  const range = event.target.type === "range";
  const name = event.key.length === 1 ? event.key.toLowerCase() : event.key, key = event.altKey ? `Alt+${name}` : name;
  const action = Object.assign({}, ...keyRows(viewer).map(([, , actions]) => actions))[key];
  const own = (key === " " && /^(BUTTON|SELECT|INPUT|SUMMARY)$/.test(event.target.tagName)) || (inField && !range) ||
    (range && /^(Arrow|Home|End)/.test(key));
  if (!action || own) return;
  event.preventDefault();
  action(event);
  viewer.request();
}
