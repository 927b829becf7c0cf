// BlazePose: 33 landmarks of one person, as jaxpose/app/detect/blazepose.py with `people=1` (its text says where it is from).
//
// The detector finds two points of a person in the whole image, and so the crop that the landmark network sees; its points 33
// and 34 are those two for the next frame, smoothed by a One-Euro filter. Where the network says that nobody is there, the
// detector is used again.

import {crop, toImage, whole} from './regions.js';

const BOX = 224, CROP = 256, GRID = 64, POINTS = 33, ALL = 39;
const PRESENT = 0.5, OVERLAP = 0.3;
const STRIDES = [[8, 2], [16, 2], [32, 6]]; // pixels of a cell, anchors in it

const sigmoid = x => 1 / (1 + Math.exp(-Math.min(Math.max(x, -100), 100)));

/**
 * A detector of given networks, each a function Float32Array [size, size, 3] -> Float32Arrays of its outputs.
 * The result is a function (ImageData, seconds) -> {keypoints [33 * 2] pixels, confidence [33]}, or null where nobody is.
 */
export function blazepose(findNetwork, lookNetwork) {
  const box = new Float32Array(BOX * BOX * 3), view = new Float32Array(CROP * CROP * 3), anchors = anchorCentres();
  let circle = null;

  async function find(image) {
    const region = whole(image);
    const [raw, logits] = await findNetwork(crop(image, region, BOX, {extend: false, scale: 1 / 127.5, shift: -1}, box));
    const person = best(raw, logits, anchors);
    return person && [toImage(region, person[4], person[5]), toImage(region, person[6], person[7])];
  }

  return async function detect(image, seconds) {
    const points = circle ? circle.points : await find(image);
    if (!points) return null;
    const region = regionOf(...points);
    const outputs = await lookNetwork(crop(image, region, CROP, {extend: true, scale: 1 / 255, shift: 0}, view));
    const [landmarks, flag, , heatmaps] = outputs;
    if (!(flag[0] >= PRESENT)) {
      circle = null;
      return null;
    }
    const xy = refine(landmarks, heatmaps).map(([u, v]) => toImage(region, u, v));
    const [centre, rim] = [xy[POINTS], xy[POINTS + 1]];
    const size = 2 * Math.hypot(rim[0] - centre[0], rim[1] - centre[1]);
    if (!(size > 0)) {
      circle = null;
      return null;
    }
    circle = smooth(circle, [centre, rim], seconds, size);
    return {
      keypoints: Float32Array.from(xy.slice(0, POINTS).flat()),
      confidence: Float32Array.from({length: POINTS}, (_, k) => sigmoid(landmarks[5 * k + 3])),
    };
  };
}

/** The crop of a person from the middle of the hips and a point of the circle about the body, above it if upright. */
function regionOf([x, y], [rimX, rimY]) {
  const dx = rimX - x, dy = rimY - y;
  return {x, y, side: 2 * 1.25 * Math.hypot(dx, dy), angle: Math.PI / 2 - Math.atan2(-dy, dx)};
}

/** Points [39] of [u, v] in shares of the crop, at the centroids of their heatmaps [64, 64, 39] (logits) around them. */
function refine(landmarks, heatmaps) {
  const points = [];
  for (let k = 0; k < ALL; k++) {
    const u = landmarks[5 * k] / CROP, v = landmarks[5 * k + 1] / CROP;
    const column = Math.trunc(u * GRID), row = Math.trunc(v * GRID);
    let most = 0, total = 0, x = 0, y = 0;
    if (column >= 0 && column < GRID && row >= 0 && row < GRID) {
      for (let i = Math.max(0, row - 4); i < Math.min(GRID, row + 5); i++) {
        for (let j = Math.max(0, column - 4); j < Math.min(GRID, column + 5); j++) {
          const weight = sigmoid(heatmaps[(i * GRID + j) * ALL + k]);
          most = Math.max(most, weight);
          total += weight;
          x += weight * j;
          y += weight * i;
        }
      }
    }
    points.push(most >= 0.5 ? [x / total / GRID, y / total / GRID] : [u, v]);
  }
  return points;
}

/** The One-Euro filter's next state (Casiez et al., 2012): cut-offs 0.01 Hz and 10 Hz per size a second; of the speed 1 Hz. */
function smooth(state, given, seconds, size) {
  if (!state || seconds <= state.seconds) return {seconds, given, points: given, speed: given.map(() => [0, 0])};
  const step = seconds - state.seconds, gain = cutoff => 1 / (1 + 1 / (2 * Math.PI * cutoff * step));
  const each = f => given.map((point, i) => point.map((_, d) => f(i, d)));
  const speed = each((i, d) => {
    const now = (given[i][d] - state.given[i][d]) / size / step;
    return state.speed[i][d] + gain(1) * (now - state.speed[i][d]);
  });
  const points = each((i, d) => {
    const before = state.points[i][d];
    return before + gain(0.01 + 10 * Math.abs(speed[i][d])) * (given[i][d] - before);
  });
  return {seconds, given, points, speed};
}

function anchorCentres() {
  const centres = [];
  for (const [stride, each] of STRIDES) {
    const cells = BOX / stride;
    for (let row = 0; row < cells; row++) {
      for (let column = 0; column < cells; column++) {
        for (let n = 0; n < each; n++) centres.push([(column + 0.5) / cells, (row + 0.5) / cells]);
      }
    }
  }
  return centres;
}

/** Box and points [12] in shares of the image, of the best box and those that overlap it, averaged by score; or null. */
function best(raw, logits, anchors) {
  const rows = [];
  anchors.forEach(([x, y], n) => {
    const score = sigmoid(logits[n]);
    if (score < PRESENT) return;
    const place = Array.from(raw.subarray(12 * n, 12 * n + 12), value => value / BOX);
    for (let i = 0; i < 12; i++) if (i !== 2 && i !== 3) place[i] += i % 2 ? y : x;
    rows.push({score, place});
  });
  if (!rows.length) return null;
  const first = rows.reduce((a, b) => (b.score > a.score ? b : a));
  const group = rows.filter(row => row === first || overlap(row.place, first.place) > OVERLAP);
  const total = group.reduce((sum, {score}) => sum + score, 0);
  return first.place.map((_, i) => group.reduce((sum, {score, place}) => sum + score * place[i], 0) / total);
}

function overlap(a, b) {
  const side = i => Math.max(0, Math.min(a[i] + a[i + 2] / 2, b[i] + b[i + 2] / 2) - Math.max(a[i] - a[i + 2] / 2, b[i] - b[i + 2] / 2));
  const common = side(0) * side(1);
  return common / Math.max(a[2] * a[3] + b[2] * b[3] - common, 1e-12);
}
