// Joints that are dragged: the server of the page (jaxpose/app/commands/view.py) draws the poses that fit them.

import { read } from "./data.js";
import { element } from "./timeline.js";
import { dot } from "./vectors.js";

export class Drag {
  // viewer: of a page whose content has `rows`, the number in the result of each person in each step.
  constructor(viewer) {
    this.viewer = viewer;
    this.held = new Map(); // joint -> place, of one person in one step
    this.person = this.step = 0;
    this.button = Object.assign(element("button"), { type: "button", textContent: "Let go", title: "Let all joints go (Escape)", hidden: true });
    this.button.addEventListener("click", () => this.letGo());
    viewer.find("views").append(this.button);
  }

  // Holds a joint at a place; of another person or step, it lets the others go.
  hold(found, place) {
    const { timeline, content, show } = this.viewer, { person, joint } = found, note = this.viewer.find("note");
    if (content.rows[person][timeline.step] < 0) return;
    note.style.minHeight = `${note.offsetHeight}px`; // what is told during a drag does not move the scene
    this.viewer.select(found);
    if (person !== this.person || timeline.step !== this.step) this.letGo();
    [this.person, this.step] = [person, timeline.step];
    this.before ||= show.take(person, timeline.step);
    this.held.set(joint, place);
    this.button.hidden = false;
    this.keep();
    this.ask();
  }

  letGo() {
    if (!this.held.size) return;
    this.held.clear();
    this.button.hidden = true;
    this.viewer.show.put(this.person, this.step, this.before);
    this.before = null;
    this.viewer.words();
    this.viewer.request();
  }

  // Answers are asked for one after the other: the newest places count.
  async ask() {
    this.waiting = true;
    if (this.busy) return;
    this.busy = true;
    while (this.waiting && this.held.size) {
      this.waiting = false;
      try {
        await this.answer();
      } catch (error) {
        this.viewer.find("note").textContent = error.message;
      }
    }
    this.busy = false;
  }

  async answer() {
    const { viewer, held, person, step } = this, begun = performance.now();
    const { joints } = viewer.show.skeletons[0], { turn } = viewer.content.axes;
    const places = [...held].map(([joint, place]) => [joints[joint], turn.map((row) => dot(row, place))]);
    const request = { row: viewer.content.rows[person][step], joints: Object.fromEntries(places) };
    const reply = await fetch("answer", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(request) });
    const { content, arrays, error } = await reply.json();
    if (error) throw new Error(error);
    const answer = await read(content, arrays);
    if (!held.size || person !== this.person || step !== this.step) return; // let go meanwhile
    viewer.show.put(person, step, answer);
    this.keep();
    const names = places.map(([name]) => name.replaceAll("_", " ")).join(", ");
    viewer.find("note").textContent = `poses that fit ${names} · answered in ${Math.round(performance.now() - begun)} ms`;
  }

  // The mean has the held joints where they are now, which may be farther than the last answer.
  keep() {
    const { show } = this.viewer;
    for (const [joint, place] of this.held) show.move(this.person, this.step, joint, place);
    this.viewer.request();
  }
}
