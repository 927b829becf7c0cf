// The page: layout, pointer and keys, legend, and drawing when something has changed.

import { css, drawAxes, PEOPLE, rgb, Show, THEMES } from "./drawing.js";
import { Drag } from "./drag.js";
import { Panel } from "./panel.js";
import { Renderer } from "./renderer.js";
import { element, rampKey, Timeline } from "./timeline.js";
import { add, length, minus, mix, Orbit, projected } from "./vectors.js";

export class Viewer {
  // content: as `read` of data.js returns it.
  constructor(content) {
    this.content = content;
    this.find = (id) => document.getElementById(id);
    this.canvas = this.find("scene");
    this.overlay = this.find("overlay");
    this.show = new Show(content);
    this.renderer = this.startRenderer();
    this.camera = new Orbit(content.box, content.view);
    this.changed = () => this.request();
    this.panel = new Panel(this.show, this.changed);
    this.timeline = new Timeline(this.show, this.changed);
    this.drag = content.rows ? new Drag(this) : null;
    this.selected = null;
    this.hovered = null;
    this.pointers = new Map();
    this.follow = this.travels() > 1.5;
    if (this.follow) this.camera = new Orbit(this.aroundPerson(), content.view);
    this.calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.words();
    this.themes();
    if (innerWidth <= 720) this.find("legend").open = false;
    this.buildLegend();
    this.listen();
    new ResizeObserver(this.changed).observe(this.find("space"));
    new ResizeObserver(this.changed).observe(this.find("flat"));
    this.touched = false;
    this.request();
  }

  // Without WebGL the rest of the page works.
  startRenderer() {
    try {
      return new Renderer(this.canvas);
    } catch (error) {
      fail(error);
      return null;
    }
  }

  words() {
    const { content } = this;
    this.find("title").textContent = content.title;
    this.find("note").textContent = content.note;
    this.find("caption").textContent = content.caption.join(" · ");
  }

  themes() {
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const use = (name) => {
      document.documentElement.dataset.theme = name;
      this.show.theme = THEMES[name];
      if (this.find("legend-body").childElementCount) this.buildLegend();
      this.request();
    };
    use(dark.matches ? "dark" : "light");
    dark.addEventListener("change", () => use(dark.matches ? "dark" : "light"));
    this.find("theme").addEventListener("click", () => use(this.show.theme === THEMES.dark ? "light" : "dark"));
    this.find("help").addEventListener("click", () => this.help());
  }

  // An entry for each group of layers and each surface, which shows or hides it, and the choice of colours.
  buildLegend() {
    const body = this.find("legend-body"), entries = [], { show } = this, groups = new Map();
    for (const layer of show.layers) groups.set(layer.group, [...(groups.get(layer.group) || []), layer]);
    for (const [group, layers] of groups) {
      const [first] = layers, people = show.people > 1 ? show.people : 1;
      const count = group === "hypotheses" && first.count > people ? `${first.count / people} ` : "";
      const names = [...new Set(layers.map((layer) => layer.name))];
      const label = names.length > 1 ? `${count}hypotheses, hidden parts stronger` : `${count}${names[0]}`;
      entries.push(this.entry(group, label, swatch(layers.at(-1), show)));
    }
    if (show.uncertainty)
      entries.push(this.entry("capsules", "50 % and 90 % capsules", swatch({ shell: true }, show), "of the posterior, for each joint"));
    for (const surface of show.surfaces) entries.push(this.entry(surface.name, surface.name, swatch({ colour: surface.colour, bone: 1 }, show)));
    if (show.layers.length) entries.push(this.colourChoice(), this.colourKey());
    if (this.travels() > 0.7) entries.push(this.followChoice());
    body.replaceChildren(...entries.filter(Boolean));
  }

  entry(group, text, sample, more = "") {
    const label = element("label"), box = element("input");
    box.type = "checkbox";
    box.checked = !this.show.hidden.has(group);
    box.dataset.group = group;
    box.addEventListener("change", () => {
      this.show.hidden[box.checked ? "delete" : "add"](group);
      this.request();
    });
    label.append(box, sample, text);
    if (more) label.append(Object.assign(element("small"), { textContent: more }));
    return label;
  }

  colourChoice() {
    const label = element("label", "choice"), select = element("select");
    const options = [["sides", "left and right"]];
    if (this.show.people > 1) options.push(["person", "person"]);
    if (this.show.uncertainty) options.push(["uncertainty", "uncertainty"]);
    if (options.length === 1) return null;
    for (const [value, text] of options) select.add(new Option(text, value, false, value === this.show.colour));
    select.id = "colour";
    select.addEventListener("change", () => {
      this.show.colour = select.value;
      this.buildLegend();
      this.request();
    });
    label.append("Colour by", select);
    return label;
  }

  colourKey() {
    const { show } = this, key = element("div", "key"), add = (text, colour) => {
      const part = element("span");
      part.style.setProperty("--c", colour);
      part.append(text);
      key.append(part);
    };
    if (show.colour === "uncertainty") return rampKey("", show);
    if (show.colour === "person") {
      this.content.people.slice(0, 12).forEach((name, p) => add(name, PEOPLE[p % PEOPLE.length]));
      return key;
    }
    if (!show.layers.some((layer) => layer.colour === "sides" || layer.colour === "pale")) return null;
    ["left", "right", "middle"].forEach((name, side) => add(name, show.theme.sides[side]));
    return key;
  }

  // How far the one person gets from where they begin, in metres.
  travels() {
    const { show } = this;
    if (show.steps < 2 || show.people !== 1 || !show.main) return 0;
    const path = Array.from({ length: show.steps }, (_, step) => show.rootOf(0, step)).filter(Boolean);
    return Math.max(0, ...path.map((place) => length(minus(place, path[0]))));
  }

  // A box about the person alone, as high as the whole scene.
  aroundPerson() {
    const step = this.timeline.step, { low, high } = this.content.box;
    const [x, , z] = (this.followed = this.show.rootOf(0, step) || mix(low, high, 0.5));
    return { low: [x - 0.7, low[1], z - 0.7], high: [x + 0.7, high[1], z + 0.7] };
  }

  followChoice() {
    const label = element("label", "choice"), box = element("input");
    box.type = "checkbox";
    box.checked = this.follow;
    box.addEventListener("change", () => {
      this.follow = box.checked;
      this.followed = this.followedStep = null;
      this.request();
    });
    label.append(box, "Follow the person");
    return label;
  }

  look(name) {
    this.touched = true;
    if (this.follow) this.camera.box = this.aroundPerson();
    const from = this.camera.place();
    this.camera.look(name, this.aspect(), this.share());
    if (this.calm) return this.request();
    const to = this.camera.place(), begun = performance.now(), moving = (this.moving = {});
    const tick = (now) => {
      if (this.moving !== moving) return;
      const t = Math.min(1, (now - begun) / 260), eased = t * t * (3 - 2 * t);
      for (const key of ["yaw", "pitch", "distance"]) this.camera[key] = from[key] + eased * (to[key] - from[key]);
      this.camera.target = mix(from.target, to.target, eased);
      this.request();
      if (t < 1) requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  aspect() {
    return this.canvas.clientWidth / Math.max(1, this.canvas.clientHeight);
  }

  // How much of the scene's width the legend leaves free.
  share() {
    return innerWidth > 720 && this.find("legend").open ? 0.8 : 1;
  }

  listen() {
    const { canvas } = this;
    for (const button of document.querySelectorAll("[data-view]")) button.addEventListener("click", () => this.look(button.dataset.view));
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("pointerdown", (event) => this.pressed(event));
    canvas.addEventListener("pointermove", (event) => this.pointed(event));
    for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, (event) => this.released(event));
    canvas.addEventListener("pointerleave", () => this.hover(null));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.moving = null;
      this.touched = true;
      this.camera.zoom(Math.exp(event.deltaY * 0.0012));
      this.request();
    }, { passive: false });
    addEventListener("keydown", (event) => this.key(event));
  }

  pressed(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
    this.canvas.classList.add("dragging");
    this.moving = null;
    this.touched = true;
    this.travelled = 0;
    const found = this.drag && event.button === 0 && this.under([event.offsetX, event.offsetY], 14);
    this.grabbed = found?.layer === this.show.main ? found : null;
  }

  pointed(event) {
    const here = [event.offsetX, event.offsetY], before = this.pointers.get(event.pointerId);
    if (!before) return this.hover(this.under(here, 14));
    const high = this.canvas.clientHeight, dx = here[0] - before[0], dy = here[1] - before[1];
    this.travelled += Math.abs(dx) + Math.abs(dy);
    if (this.grabbed && this.pointers.size === 1) {
      if (this.travelled > 3) this.carry(this.grabbed, dx / high, dy / high, event.shiftKey);
    } else if (this.pointers.size === 2) {
      const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
      const apart = (p) => Math.hypot(p[0] - other[0], p[1] - other[1]) || 1;
      this.camera.zoom(apart(before) / apart(here));
      this.camera.pan(dx / 2 / high, dy / 2 / high);
    } else if (event.shiftKey || event.buttons & 6) this.camera.pan(dx / high, dy / high);
    else this.camera.turn((dx / high) * 3.2, (dy / high) * 3.2);
    this.pointers.set(event.pointerId, here);
    this.request();
  }

  // Moves a joint with the pointer, or by a key.
  carry(found, dx, dy, deep) {
    const p = this.show.joint(found.layer, found.pose, this.timeline.step, found.joint);
    if (p[0] === p[0]) this.drag.hold(found, this.camera.carried(p, dx, dy, deep));
  }

  released(event) {
    this.pointers.delete(event.pointerId);
    this.canvas.classList.remove("dragging");
    if (this.travelled > 6 || event.type === "pointercancel") return;
    this.select(this.under([event.offsetX, event.offsetY], event.pointerType === "touch" ? 26 : 14));
  }

  under(at, reach) {
    const size = [this.canvas.clientWidth, this.canvas.clientHeight];
    return this.show.pick(this.camera.matrix(size[0] / size[1]), size, at, this.timeline.step, reach);
  }

  hover(found) {
    if (found?.joint === this.hovered?.joint && found?.pose === this.hovered?.pose && found?.layer === this.hovered?.layer) return;
    this.hovered = found;
    this.request();
  }

  select(found) {
    this.selected = found;
    if (found && this.show.people > 1 && this.timeline.person !== found.person) {
      this.timeline.person = found.person;
      this.find("person").value = found.person;
    }
    this.request();
  }

  // Rows of the help: keys and gestures, what they do, and the actions of the keys.
  rows() {
    const { timeline, camera, show, drag } = this, far = (event) => (event.shiftKey ? 10 : 1);
    const slide = (x, y) => (event) => (event.shiftKey ? camera.pan(x * 0.5, y * 0.5) : camera.turn(x * 1.5, y * 1.5));
    const near = () => camera.zoom(0.88), view = (name) => () => this.look(name);
    const carry = (x, y) => (event) => this.selected?.layer === show.main && this.carry(this.selected, x, y, event.shiftKey);
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
      ["J K", "next and previous joint; Escape for none", { j: () => this.next(1), k: () => this.next(-1) }],
      drag && ["Drag a joint, or Alt ← → ↑ ↓", "the poses that fit its new place; with Shift nearer and away; Escape lets all joints go", {
        "Alt+ArrowLeft": carry(-0.01, 0), "Alt+ArrowRight": carry(0.01, 0), "Alt+ArrowUp": carry(0, -0.01), "Alt+ArrowDown": carry(0, 0.01),
      }],
      ["H U", "hypotheses, uncertainty capsules", { h: () => this.switch("hypotheses"), u: () => this.switch("capsules") }],
      ["?", "this help", { "?": () => this.help(), Escape: () => (this.select(null), drag?.letGo()) }],
    ].filter(Boolean);
  }

  help() {
    const list = this.find("keys-list");
    list.replaceChildren();
    for (const [told, does] of this.rows()) {
      const term = element("dt"), isKey = (word) => /^(.|Space|Home|End|Alt|Shift)$/.test(word) && word !== "a";
      for (const word of told.split(" ")) term.append(isKey(word) ? Object.assign(element("kbd"), { textContent: word }) : word, " ");
      list.append(term, Object.assign(element("dd"), { textContent: does }));
    }
    this.find("keys").showModal();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || this.find("keys").open) return;
    const inField = /^(SELECT|INPUT)$/.test(event.target.tagName) && event.target.type !== "checkbox";
    const range = event.target.type === "range";
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key, key = event.altKey ? `Alt+${name}` : name;
    const action = Object.assign({}, ...this.rows().map(([, , actions]) => actions))[key];
    const own = (key === " " && /^(BUTTON|SELECT|INPUT|SUMMARY)$/.test(event.target.tagName)) || (inField && !range) ||
      (range && /^(Arrow|Home|End)/.test(key));
    if (!action || own) return;
    event.preventDefault();
    action(event);
    this.request();
  }

  next(by) {
    const layer = this.show.main;
    if (!layer) return;
    const person = this.selected?.layer === layer ? this.selected.person : this.timeline.person;
    const from = this.selected?.layer === layer ? this.selected.joint : by > 0 ? -1 : 0;
    this.select({ layer, pose: person, person, joint: (from + by + layer.joints) % layer.joints });
  }

  switch(group) {
    const box = [...document.querySelectorAll("#legend input")].find((each) => each.dataset.group === group);
    box?.click();
  }

  request() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.draw();
    });
  }

  draw() {
    const { canvas, content, timeline, show, camera } = this, ratio = Math.min(2, devicePixelRatio || 1);
    if (this.drag && this.drag.step !== timeline.step) this.drag.letGo();
    const size = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
    if (!size[0] || !size[1]) return;
    const begun = performance.now();
    if (canvas.width !== size[0] || canvas.height !== size[1]) {
      [canvas.width, canvas.height] = size;
      if (!this.touched) camera.look("start", this.aspect(), this.share());
    }
    this.followRoot();
    if (show.colour === "uncertainty" && this.told !== show.version) document.querySelector("#legend-body .ramp").replaceWith(rampKey("", show));
    this.told = show.version;
    const box = content.box, middle = mix(box.low, box.high, 0.5), theme = show.theme;
    const look = {
      stage: rgb(theme.stage), grid: theme.grid, shadow: theme.shadow, floor: content.floor, centre: middle,
      reach: Math.max(4, 1.6 * Math.max(box.high[0] - box.low[0], box.high[2] - box.low[2])),
    };
    this.renderer?.draw(show.scene(timeline.step, this.renderer, ratio), camera, look);
    this.panel.draw(timeline.step);
    timeline.draw(this.selected);
    this.drawOverlay(ratio);
    this.drawn = (this.drawn || 0) + 1;
    this.milliseconds = performance.now() - begun;
  }

  followRoot() {
    const { step } = this.timeline;
    if (!this.follow || step === this.followedStep) return; // a joint that is dragged does not move the view
    const root = this.show.rootOf(0, step);
    if (root && this.followed) this.camera.target = add(this.camera.target, minus(root, this.followed));
    [this.followed, this.followedStep] = [root || this.followed, step];
  }

  // Names of people, the chosen joint, and the axes of the data.
  drawOverlay(ratio) {
    const { content, overlay: canvas } = this, size = [this.canvas.clientWidth, this.canvas.clientHeight];
    [canvas.width, canvas.height] = [size[0] * ratio, size[1] * ratio];
    const context = canvas.getContext("2d"), matrix = this.camera.matrix(size[0] / size[1]);
    context.scale(ratio, ratio);
    context.textAlign = "center";
    context.font = "12px system-ui, sans-serif";
    const soft = getComputedStyle(document.documentElement).getPropertyValue("--soft");
    const written = [];
    (content.places || []).forEach((place, p) => {
      const seen = projected(matrix, add(place, [0, content.floor - place[1], 0.25]), size);
      if (!seen) return;
      const box = [seen[0], seen[1] + 12, context.measureText(content.people[p]).width + 4];
      const free = written.every((other) => Math.abs(other[0] - box[0]) > (other[2] + box[2]) / 2 || Math.abs(other[1] - box[1]) > 14);
      if (!free) return;
      written.push(box);
      context.fillStyle = soft;
      context.fillText(content.people[p], box[0], box[1]);
    });
    drawAxes(context, size, this.camera, content.axes);
    for (const place of this.drag?.held.values() || []) {
      const seen = projected(matrix, place, size);
      if (!seen) continue;
      context.fillStyle = this.show.theme.given;
      context.beginPath();
      context.arc(seen[0], seen[1], 6, 0, 7);
      context.fill();
    }
    const told = this.hovered || this.selected, tip = this.find("tip");
    for (const mark of [this.selected, this.hovered].filter(Boolean)) {
      const p = this.show.joint(mark.layer, mark.pose, this.timeline.step, mark.joint);
      const seen = p[0] === p[0] && projected(matrix, p, size);
      if (!seen) continue;
      context.strokeStyle = css(rgb(this.show.theme.truth));
      context.lineWidth = 1.6;
      context.beginPath();
      context.arc(seen[0], seen[1], 8, 0, 7);
      context.stroke();
      mark.seen = seen;
    }
    tip.hidden = !told;
    if (!told) return;
    tip.textContent = this.show.tell(told, this.timeline.step);
    const [x, y] = size[0] < 500 ? [size[0], size[1]] : told.seen || [20, 60];
    tip.style.left = `${Math.max(6, Math.min(size[0] - tip.offsetWidth - 6, x + 14))}px`;
    tip.style.top = `${Math.max(6, Math.min(size[1] - tip.offsetHeight - 6, y + 10))}px`;
  }
}

// Tells what went wrong where the scene would be.
export function fail(error) {
  const failure = document.getElementById("failure");
  failure.hidden = false;
  failure.textContent = error.message;
  console.error(error);
}

function swatch({ colour, bone, dot: dots, shell }, show) {
  const made = element("span", `swatch${bone || shell ? "" : " thin"}${colour === "given" ? " dot" : ""}${shell ? " shell" : ""}`);
  const tints = shell ? [show.theme.sides[0]] : colour?.startsWith("#") ? [colour] : colour === "truth" || colour === "given"
    ? [show.theme[colour]] : show.colour === "person" ? PEOPLE.slice(0, Math.min(3, show.people)) : show.theme.sides.slice(0, 2);
  for (const tint of tints) {
    const part = element("i");
    part.style.background = tint;
    if (shell) Object.assign(part.style, { opacity: 0.4, border: `1px solid ${tint}` });
    made.append(part);
  }
  return made;
}
