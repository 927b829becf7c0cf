// The 2D input beside the scene: its picture, the hypotheses as the camera sees them, keypoints by their confidence.

import { css, rgb } from "./drawing.js";

export class Panel {
  constructor(show, changed) {
    this.show = show;
    this.canvas = document.getElementById("flat-canvas");
    this.figure = document.getElementById("flat");
    this.pictures = []; // of the steps
    const { flat } = show.content;
    if (!flat) return;
    this.figure.hidden = false;
    const names = show.flat.map((layer) => (layer.dot ? "2D keypoints, fainter where less sure" : "hypotheses as the camera sees them"));
    document.getElementById("flat-caption").textContent = [...new Set(names.reverse())].join(" · ");
    const load = async (file, step) => {
      this.pictures[step] = await createImageBitmap(file);
      changed();
    };
    (flat.film || []).forEach((file, step) => file && load(file, step));
  }

  draw(step) {
    const { flat } = this.show.content;
    if (!flat) return;
    const size = [flat.high[0] - flat.low[0], flat.high[1] - flat.low[1]];
    this.figure.classList.toggle("portrait", size[1] > 1.2 * size[0]);
    const ratio = Math.min(2, devicePixelRatio || 1), canvas = this.canvas, context = canvas.getContext("2d");
    canvas.width = Math.round(canvas.clientWidth * ratio);
    canvas.height = Math.round(canvas.clientHeight * ratio);
    const scale = 0.96 * Math.min(canvas.width / size[0], canvas.height / size[1]);
    const move = [0, 1].map((i) => ((i ? canvas.height : canvas.width) - scale * size[i]) / 2 - scale * flat.low[i]);
    const at = (p) => [scale * p[0] + move[0], scale * p[1] + move[1]];
    const picture = this.pictures[step], corner = at(flat.film ? [0, 0] : flat.low), far = at(flat.high);
    context.fillStyle = css(rgb(this.show.theme.stage));
    context.fillRect(...at(flat.low), scale * size[0], scale * size[1]);
    if (picture) context.drawImage(picture, ...corner, far[0] - corner[0], far[1] - corner[1]);
    context.lineCap = "round";
    const pen = ratio * Math.max(0.45, Math.min(1, Math.min(canvas.width, canvas.height) / ratio / 340)); // finer where small
    for (const layer of this.show.flat) {
      if (this.show.hidden.has(layer.group) && layer.group === "hypotheses") continue;
      this.drawLayer(context, layer, layer.steps > 1 ? step : 0, at, pen, Boolean(picture));
    }
  }

  drawLayer(context, layer, step, at, pen, over) {
    const { lines } = this.show.skeleton(layer), point = (l, j) => {
      const i = (layer.at(l, step) + j) * 2;
      return [layer.poses[i], layer.poses[i + 1]];
    };
    const strength = (l, j) => (layer.strengthOf ? 0.2 + 0.8 * layer.strengthOf(l, step, j) : 1);
    for (let l = 0; l < layer.count; l++) {
      for (const [i, j] of lines) {
        if (layer.hasBone && !layer.hasBone(l, step, j)) continue;
        const [a, b] = [point(l, i), point(l, j)];
        if (a[0] !== a[0] || b[0] !== b[0]) continue;
        context.globalAlpha = layer.dot ? Math.min(strength(l, i), strength(l, j)) : layer.opacity;
        context.strokeStyle = css(this.show.colourOf(layer, l % this.show.people, step, j));
        context.lineWidth = (layer.dot ? (over ? 2.6 : 2.2) : 1) * pen;
        context.beginPath();
        context.moveTo(...at(a));
        context.lineTo(...at(b));
        context.stroke();
      }
      if (!layer.dot) continue;
      for (let j = 0; j < layer.joints; j++) {
        const p = point(l, j);
        if (p[0] !== p[0]) continue;
        context.globalAlpha = strength(l, j);
        context.fillStyle = css(this.show.colourOf(layer, l % this.show.people, step, j));
        context.beginPath();
        context.arc(...at(p), (layer.dot > 6 ? 3.4 : 2.4) * pen, 0, 7);
        context.fill();
      }
    }
    context.globalAlpha = 1;
  }
}
