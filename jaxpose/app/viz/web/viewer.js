// The page: layout, pointer, and drawing when something has changed.

import { css, drawAxes, rgb, Show, THEMES } from "./drawing.js";
import { Drag } from "./drag.js";
import { answerKey, showHelp } from "./keys.js";
import { buildLegend } from "./legend.js";
import { Panel } from "./panel.js";
import { Renderer } from "./renderer.js";
import { rampKey, Timeline } from "./timeline.js";
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
    buildLegend(this);
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
      if (this.find("legend-body").childElementCount) buildLegend(this);
      this.request();
    };
    use(dark.matches ? "dark" : "light");
    dark.addEventListener("change", () => use(dark.matches ? "dark" : "light"));
    this.find("theme").addEventListener("click", () => use(this.show.theme === THEMES.dark ? "light" : "dark"));
    this.find("help").addEventListener("click", () => showHelp(this));
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
    addEventListener("keydown", (event) => answerKey(this, event));
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
