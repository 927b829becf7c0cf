// From what the page holds to what the renderer draws, for one step; colours, and which joint lies under a pointer.

import { UNKNOWN } from "./data.js";
import { dot, looking, mix, projected } from "./vectors.js";

export const THEMES = {
  light: {
    sides: ["#0072b2", "#d55e00", "#7d8694"], pale: ["#8fc1de", "#eab48c", "#c3c9d2"], truth: "#1a1f27", given: "#009e73",
    stage: "#f4f6f9", grid: [0.42, 0.48, 0.56, 0.5], shadow: 0.13,
  },
  dark: {
    sides: ["#3fa7e6", "#f28036", "#a4afbe"], pale: ["#2d6d97", "#9c5a30", "#667180"], truth: "#f2f5f9", given: "#2fcf9d",
    stage: "#161b23", grid: [0.62, 0.7, 0.8, 0.36], shadow: 0.34,
  },
};
export const PEOPLE = ["#0f84cf", "#e0711a", "#12a87f", "#c769a0", "#c9a20c", "#8d6fd1", "#4fb3c9", "#a5694f"];
export const RAMP = ["#2c7bb6", "#59b0c4", "#e3c94f", "#f08a3c", "#c8213a"]; // of radii, from the smallest to the largest

export const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255);
export const css = (c) => `rgb(${c.map((v) => Math.round(v * 255)).join(" ")})`;
const SHADES = Array.from({ length: 65 }, (_, i) => {
  const at = i / 16, low = Math.min(3, Math.floor(at));
  return mix(rgb(RAMP[low]), rgb(RAMP[low + 1]), at - low);
});
export const STYLES = SHADES.map(css), GREY = [0.5, 0.5, 0.5];

// Arrays of an uncertainty: their numbers for each joint, and what these are in a gap.
const SPREAD = [["mean", 3, NaN], ["shape", 6, NaN], ["inner", 1, 0], ["mm", 1, UNKNOWN]];

export class Show {
  // content: as `read` of data.js returns it.
  constructor(content) {
    this.content = content;
    this.people = content.people.length;
    this.steps = content.steps.labels.length;
    for (const part of ["layers", "surfaces", "uncertainty", "marks", "skeletons"]) this[part] = content[part];
    this.flat = content.flat?.layers || [];
    // the layer whose joints are told, and whose bones have capsules
    this.main = this.layers.find((layer) => layer.group === "mean") || this.layers.at(-1);
    this.colour = this.people > 1 && !content.view ? "person" : "sides";
    this.hidden = new Set(this.uncertainty ? ["capsules"] : []);
    this.theme = THEMES.light;
    this.version = 0; // of the arrays
  }

  skeleton(layer) {
    return this.skeletons[layer.skeleton || 0];
  }

  joint(layer, l, f, j) {
    const at = (layer.at(l, f) + j) * 3;
    return [layer.poses[at], layer.poses[at + 1], layer.poses[at + 2]];
  }

  // The pose of a person in a step, as the content of a page of that alone.
  take(person, step) {
    const given = this.uncertainty, at = given?.at(person, step, 0);
    const layers = this.layers.map((layer) => {
      const poses = [];
      for (let l = person; l < layer.count; l += this.people) poses.push(...layer.poses.subarray(layer.at(l, step) * 3, (layer.at(l, step) + layer.joints) * 3));
      return { group: layer.group, poses: new Float32Array(poses), count: layer.count / this.people };
    });
    const copied = ([name, width]) => [name, given[name].slice(at * width, (at + given.joints) * width)];
    return { layers, uncertainty: given && Object.fromEntries(SPREAD.map(copied)) };
  }

  // Puts the one pose of another page's content in the place of a person in a step.
  put(person, step, { layers, uncertainty }) {
    for (const layer of this.layers) {
      const { poses, count } = layers.find((each) => each.group === layer.group) || layers.at(-1), size = layer.joints * 3;
      for (let h = 0; h * this.people < layer.count; h++) {
        const from = (h % count) * size;
        layer.poses.set(poses.subarray(from, from + size), layer.at(h * this.people + person, step) * 3);
      }
    }
    const given = this.uncertainty, at = given?.at(person, step, 0);
    for (const [name, width, gap] of given ? SPREAD : []) given[name].set(uncertainty?.[name] || Array(given.joints * width).fill(gap), at * width);
    this.version++;
  }

  // One joint of the main layer.
  move(person, step, joint, place) {
    this.main.poses.set(place, (this.main.at(person, step) + joint) * 3);
  }

  // The ends of the scale of colours: the smallest radius above 0 and the largest of the page, in millimetres; null without any.
  range() {
    if (this.ranged !== this.version) {
      this.ranged = this.version;
      const seen = this.uncertainty.mm.filter((mm) => mm > 0 && mm < UNKNOWN);
      this.ends = seen.length ? [seen.reduce((a, b) => Math.min(a, b)), seen.reduce((a, b) => Math.max(a, b))] : null;
    }
    return this.ends;
  }

  // The colour of a radius by its number among 65, evenly spaced on a logarithmic scale; NaN where it is not known.
  shade(mm) {
    if (!(mm >= 0)) return NaN;
    const [low, high] = this.range() || [1, 1], share = Math.log(Math.max(mm, low) / low) / Math.log(high / low);
    return Math.round(64 * (share || 0));
  }

  colourOf(layer, person, step, joint) {
    const theme = this.theme, side = this.skeleton(layer).sides[joint];
    if (layer.colour === "truth" || layer.colour === "given") return rgb(theme[layer.colour]);
    if (layer.colour.startsWith("#")) return rgb(layer.colour);
    if (this.colour === "uncertainty" && this.uncertainty) return SHADES[this.shade(this.uncertainty.radius(person, step, joint))] || GREY;
    if (this.colour === "person") {
      const own = rgb(PEOPLE[person % PEOPLE.length]);
      return side === 0 ? mix(own, [1, 1, 1], 0.28) : side === 1 ? mix(own, [0, 0, 0], 0.18) : own;
    }
    return rgb(theme[layer.colour][side]);
  }

  // Bones of a layer in a step: (pose, person, parent, joint).
  eachBone(layer, step, visit) {
    for (let l = 0; l < layer.count; l++)
      for (const [i, j] of this.skeleton(layer).lines) {
        if (layer.hasBone && !layer.hasBone(l, step, j)) continue;
        const a = this.joint(layer, l, step, i), b = this.joint(layer, l, step, j);
        if (a[0] === a[0] && b[0] === b[0]) visit(l, l % this.people, i, j, a, b);
      }
  }

  scene(step, renderer, pixelRatio) {
    const solid = [], lines = [], shells = [];
    for (const layer of this.layers) {
      if (this.hidden.has(layer.group)) continue;
      if (layer.bone) this.addSolid(solid, layer, step);
      else lines.push(this.linesOf(layer, step, pixelRatio));
    }
    if (this.uncertainty && !this.hidden.has("capsules")) shells.push(this.shell(step, true), this.shell(step, false));
    const surfaces = this.surfaces.filter((given) => !this.hidden.has(given.name) && !given.absent(step)).map((given) => {
      given.made ||= renderer.surface(given);
      renderer.setStep(given.made, step);
      return { surface: given.made, tint: [...rgb(given.colour), given.opacity] };
    });
    return { capsules: new Float32Array(solid), shells, lines, surfaces };
  }

  addSolid(out, layer, step) {
    const radius = layer.bone, dotted = Math.max(layer.dot, radius * 1.12);
    const capsule = (a, b, r, ca, cb) => out.push(...a, ...b, r, r, r, 0, 0, 0, r, r, r, 0, 0, 0, ...ca, 1, ...cb, 1);
    this.eachBone(layer, step, (l, person, i, j, a, b) => {
      const colour = this.colourOf(layer, person, step, j);
      capsule(a, b, radius, this.colour === "uncertainty" ? this.colourOf(layer, person, step, i) : colour, colour);
    });
    for (let l = 0; l < layer.count; l++)
      for (let j = 0; j < layer.joints; j++) {
        const p = this.joint(layer, l, step, j);
        if (p[0] !== p[0]) continue;
        const colour = this.colourOf(layer, l % this.people, step, j);
        capsule(p, p, dotted, colour, colour);
      }
  }

  linesOf(layer, step, pixelRatio) {
    const out = [];
    this.eachBone(layer, step, (l, person, i, j, a, b) => {
      const colour = this.colourOf(layer, person, step, j), from = this.colour === "uncertainty" ? this.colourOf(layer, person, step, i) : colour;
      out.push(...a, ...b, ...from, layer.opacity, ...colour, layer.opacity);
    });
    return { data: new Float32Array(out), width: Math.max(1, layer.width * 0.9 * pixelRatio) };
  }

  // Capsules around the bones of the mean, with the ellipsoids that hold 50 % or 90 % at their ends.
  shell(step, inner) {
    const out = [], given = this.uncertainty, { parents } = this.skeletons[0];
    for (let p = 0; p < this.people; p++)
      for (let j = 0; j < parents.length; j++) {
        const i = parents[j] < 0 ? j : parents[j];
        if (parents[j] < 0 && parents.length > 1) continue;
        const ends = [i, j].map((k) => {
          const at = given.at(p, step, k), scale = inner ? given.inner[at] / 255 : 1;
          const shape = [...given.shape.subarray(at * 6, at * 6 + 6)].map((v) => v * scale);
          for (let d = 0; d < 3; d++) shape[d] += 0.008;
          return { p: [...given.mean.subarray(at * 3, at * 3 + 3)], shape, mm: given.radius(p, step, k) };
        });
        if (ends.some((e) => e.p[0] !== e.p[0] || e.shape[0] !== e.shape[0])) continue;
        const tints = ends.map((e, n) => (this.colour === "uncertainty" ? SHADES[this.shade(e.mm)] || GREY : this.colourOf(this.main, p, step, n ? j : i)));
        out.push(...ends[0].p, ...ends[1].p, ...ends[0].shape, ...ends[1].shape);
        out.push(...tints[1], inner ? 0.5 : 0.24, ...tints[1], inner ? 0.5 : 0.24);
        if (this.colour === "uncertainty") out.splice(-8, 3, ...tints[0]);
      }
    return new Float32Array(out);
  }

  // Where a person is in a step: their first joint, or null.
  rootOf(person, step) {
    if (!this.main) return null;
    const p = this.joint(this.main, person, step, 0);
    return p[0] === p[0] ? p : null;
  }

  // The joint of the main layer nearest to a pixel, within a reach: {person, joint, layer}.
  pick(matrix, size, at, step, reach) {
    let best = null, least = reach;
    for (const layer of this.layers) {
      if (!layer.bone || this.hidden.has(layer.group)) continue;
      for (let l = 0; l < layer.count; l++)
        for (let j = 0; j < layer.joints; j++) {
          const p = this.joint(layer, l, step, j);
          if (p[0] !== p[0]) continue;
          const seen = projected(matrix, p, size);
          const away = seen ? Math.hypot(seen[0] - at[0], seen[1] - at[1]) : Infinity;
          if (away < least) [least, best] = [away, { layer, pose: l, person: l % this.people, joint: j }];
        }
    }
    return best;
  }

  // What is known of a joint, in lines.
  tell({ layer, pose, person, joint }, step) {
    const p = this.joint(layer, pose, step, joint);
    const name = this.skeleton(layer).joints[joint].replaceAll("_", " ");
    const { axes, people } = this.content, who = this.people > 1 ? ` · ${people[person]}` : "";
    if (p[0] !== p[0]) return `${name}${who}\nnot in this step`;
    const own = axes.turn.map((row) => dot(row, p));
    const lines = [`${name}${who}`, own.map((v, i) => `${axes.names[i]} ${v.toFixed(3)}`).join("  ").replaceAll("-", "−") + " m"];
    if (layer !== this.main) lines.push(layer.name);
    else if (this.uncertainty) {
      const mm = this.uncertainty.radius(person, step, joint);
      if (mm === mm) lines.push(`90 % radius ${mm} mm`);
    }
    if (this.marks.missing(person, step, joint)) lines.push("missing in the input");
    if (this.marks.unusual(person, step)) lines.push("doubtful");
    return lines.join("\n");
  }
}

// The axes of the data as the viewer sees them, in the lower left corner.
export function drawAxes(context, size, camera, given) {
  const view = looking(camera.eye(), camera.target, [0, 1, 0]), origin = [48, size[1] - 66], long = 26;
  const axes = given.names.map((name, i) => {
    const p = given.turn[i]; // the data's axis i in display axes
    const seen = [0, 1, 2].map((row) => view[row] * p[0] + view[4 + row] * p[1] + view[8 + row] * p[2]);
    return { name, seen, colour: ["#e0524b", "#46a84e", "#5b8cf0"][i] };
  });
  context.lineWidth = 2.4;
  context.lineCap = "round";
  context.font = "600 12px system-ui, sans-serif";
  context.textBaseline = "middle";
  for (const { name, seen, colour } of axes.sort((a, b) => a.seen[2] - b.seen[2])) {
    const end = [origin[0] + long * seen[0], origin[1] - long * seen[1]];
    context.strokeStyle = context.fillStyle = colour;
    context.globalAlpha = seen[2] < -0.1 ? 0.65 : 1;
    context.beginPath();
    context.moveTo(...origin);
    context.lineTo(...end);
    context.stroke();
    context.fillText(name, origin[0] + (long + 10) * seen[0], origin[1] - (long + 10) * seen[1]);
  }
  context.globalAlpha = 1;
  context.textAlign = "left";
  context.font = "11px system-ui, sans-serif";
  context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--soft");
  context.fillText(given.said, 12, size[1] - 10);
}
