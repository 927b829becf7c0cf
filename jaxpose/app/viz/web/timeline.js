// Steps over time: play, scrub, and for each joint its 90 % radius over time as a strip of colours.

import { css, RAMP, rgb, STYLES } from "./drawing.js";

const GUTTER = 96, MARKS = 8;

export class Timeline {
  constructor(show, changed) {
    this.show = show;
    this.changed = changed;
    this.step = show.content.steps.start;
    this.person = 0;
    this.live = Boolean(show.content.live); // steps arrive at the end, which is shown while playing
    this.playing = false;
    this.find = (id) => document.getElementById(id);
    const wanted = /^#(\d+)$/.exec(location.hash);
    if (wanted) this.step = Math.min(show.steps - 1, Number(wanted[1]));
    if (show.steps < 2) return;
    this.find("time").hidden = false;
    this.find("step").max = show.steps - 1;
    this.find("step").addEventListener("input", (event) => this.go(Number(event.target.value)));
    this.find("play").addEventListener("click", () => this.toggle());
    this.find("back").addEventListener("click", () => this.go(this.step - 1));
    this.find("forth").addEventListener("click", () => this.go(this.step + 1));
    if (this.live) {
      this.find("speed").parentElement.hidden = true;
      this.toggle(true);
    }
    addEventListener("hashchange", () => this.go(Number(location.hash.slice(1)) || 0));
    this.prepareStrip();
  }

  prepareStrip() {
    const { uncertainty, marks, people } = this.show, strip = this.find("strip");
    if (!uncertainty && !marks.any.missing && !marks.any.unusual) return;
    strip.hidden = false;
    const scrub = (event) => {
      const box = strip.getBoundingClientRect(), gutter = this.gutter();
      this.go(Math.round(((event.clientX - box.left - gutter) / (box.width - gutter)) * this.show.steps - 0.5));
      this.hovered = Math.floor(((event.clientY - box.top) / box.height) * (this.rows().length + 1) - 1);
    };
    strip.addEventListener("pointerdown", (event) => (strip.setPointerCapture(event.pointerId), scrub(event)));
    strip.addEventListener("pointermove", (event) => event.buttons && scrub(event));
    strip.setAttribute("aria-label", "90 % radius of each joint over time; drag to move through time");
    const choice = this.find("person");
    if (people > 1) {
      this.find("person-choice").hidden = false;
      this.show.content.people.forEach((name, index) => choice.add(new Option(name, index)));
      choice.addEventListener("change", () => {
        this.person = Number(choice.value);
        this.changed();
      });
    }
    this.describeStrip();
  }

  describeStrip() {
    const { uncertainty, marks, theme } = this.show, scale = this.find("scale"), parts = [];
    if (uncertainty) parts.push(rampKey("90 % radius of a joint", this.show));
    if (marks.any.missing) parts.push(mark("missing in the input", css(rgb(theme.truth))));
    if (marks.any.unusual) parts.push(mark("doubtful", "#c2297e"));
    scale.replaceChildren(...parts);
    scale.hidden = false;
  }

  rows() {
    return this.show.skeletons[0].joints;
  }

  gutter() {
    return innerWidth > 720 ? GUTTER : 0;
  }

  go(step, wrap = false) {
    const last = this.show.steps - 1;
    const next = wrap && step > last ? 0 : Math.max(0, Math.min(last, step));
    if (next === this.step) return;
    this.step = next;
    if (this.live && next < last) this.toggle(false);
    this.changed();
  }

  // After a step has arrived and the first has gone.
  arrived() {
    if (!this.playing) this.step = Math.max(0, this.step - 1);
    this.show.version++;
    this.changed();
  }

  toggle(playing = !this.playing) {
    if (this.show.steps < 2) return;
    this.playing = playing;
    const last = this.show.steps - 1;
    if (playing && (this.live || this.step === last)) this.go(this.live ? last : 0);
    const button = this.find("play");
    button.textContent = playing ? "❚❚" : "▶";
    button.setAttribute("aria-label", playing ? "Pause" : "Play");
    if (!playing || this.live) return;
    let due = performance.now();
    const tick = (now) => {
      if (!this.playing) return;
      const pause = (1000 * this.show.content.steps.seconds) / Number(this.find("speed").value);
      const passed = Math.floor((now - due) / pause);
      if (passed > 0) {
        due += passed * pause;
        this.go(this.step + Math.min(passed, this.show.steps), true);
      }
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  draw(selected) {
    if (this.show.steps < 2) return;
    const label = this.show.content.steps.labels[this.step];
    this.find("step").value = this.step;
    this.find("step").setAttribute("aria-valuetext", label);
    this.find("now").textContent = `${label} · ${this.step + 1} of ${this.show.steps}`;
    const strip = this.find("strip");
    this.find("time").classList.toggle("named", !strip.hidden);
    if (!strip.hidden) this.drawStrip(strip, selected);
  }

  // The cells are drawn once for a person, theme and width; the mark of the step is drawn over them.
  drawStrip(strip, selected) {
    const ratio = Math.min(2, devicePixelRatio || 1), names = this.rows(), gutter = this.gutter();
    const row = Math.max(4, Math.min(gutter ? 9 : 5, Math.floor((innerHeight * 0.24) / names.length)));
    const height = row * names.length + MARKS, width = strip.clientWidth;
    const key = [width, height, ratio, this.person, this.show.version, document.documentElement.dataset.theme].join();
    if (this.key !== key) {
      this.key = key;
      this.cells = this.drawCells(width, height, ratio, row, gutter);
      strip.style.height = `${height}px`;
      this.describeStrip();
    }
    [strip.width, strip.height] = [this.cells.width, this.cells.height];
    const context = strip.getContext("2d"), cell = (width - gutter) / this.show.steps;
    context.drawImage(this.cells, 0, 0);
    context.scale(ratio, ratio);
    context.strokeStyle = css(rgb(this.show.theme.truth));
    context.lineWidth = 1.5;
    context.strokeRect(gutter + this.step * cell - 0.75, 0.75, Math.max(cell, 1) + 1.5, height - 1.5);
    if (selected && selected.layer === this.show.main) {
      context.strokeRect(gutter + 0.5, MARKS + selected.joint * row, width - gutter - 1, row);
    }
  }

  drawCells(width, height, ratio, row, gutter) {
    const canvas = document.createElement("canvas"), context = canvas.getContext("2d");
    [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    context.scale(ratio, ratio);
    const { uncertainty, marks, steps, theme } = this.show, cell = (width - gutter) / steps, p = this.person;
    const stride = Math.max(1, Math.floor(1 / cell)); // no cell is thinner than a pixel
    const truth = css(rgb(theme.truth)), soft = getComputedStyle(document.body).getPropertyValue("--soft");
    this.rows().forEach((name, j) => {
      const y = MARKS + j * row;
      for (let f = 0; f < steps; f += stride) {
        const mm = uncertainty ? uncertainty.radius(p, f, j) : NaN, x = gutter + f * cell;
        const here = uncertainty ? uncertainty.mean[uncertainty.at(p, f, j) * 3] : 0;
        if (here !== here) continue;
        context.fillStyle = uncertainty ? STYLES[this.show.shade(mm)] || "#808080" : css(rgb(theme.sides[2]));
        context.fillRect(x, y, cell * stride + 0.5, row - 1);
        if (!marks.missing(p, f, j)) continue;
        context.fillStyle = truth;
        context.fillRect(x, y + row / 2 - 1, cell + 0.5, 1.5);
      }
      if (!gutter) return;
      context.fillStyle = soft;
      context.font = `${Math.min(10, row + 1)}px system-ui, sans-serif`;
      context.textAlign = "right";
      context.textBaseline = "middle";
      if (row >= 7 || j % 2 === 0) context.fillText(name.replaceAll("_", " "), gutter - 8, y + row / 2);
    });
    context.fillStyle = "#c2297e";
    for (let f = 0; f < steps; f++) if (marks.unusual(p, f)) context.fillRect(gutter + f * cell, 1, Math.max(cell, 2), MARKS - 3);
    return canvas;
  }
}

export function rampKey(text, show) {
  const key = element("span", "ramp"), bar = element("i");
  bar.style.background = `linear-gradient(90deg, ${RAMP.join(", ")})`;
  const [low, high] = show.range()?.map((mm) => `${mm} mm`) || ["", ""];
  key.append(`${text} ${low}`, bar, high);
  return key;
}

function mark(text, colour) {
  const key = element("span", "mark");
  key.style.setProperty("--c", colour);
  key.append(text);
  return key;
}

export function element(kind, name = "") {
  const made = document.createElement(kind);
  if (name) made.className = name;
  return made;
}
