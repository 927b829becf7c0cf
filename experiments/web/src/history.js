// The last answers as the steps of one of the library's pages: its arrays, in which each new answer is the last step.

import {read, UNKNOWN} from '../../../jaxpose/app/viz/web/data.js';
import {spread} from './spread.js';

const ABOUT = {low: [-0.8, -1, -0.8], high: [0.8, 0.85, 0.8]}; // metres about the hip, that is in sight
const MIRROR = [1, -1, -1]; // camera axes (y down, z forward) to those of pages

/** The content of a page without poses, of what the build wrote beside the model. */
export async function emptyPage({body, input, input_lines}) {
  const page = await read(body.content, body.arrays), {flat, skeletons} = await read(input.content, input.arrays);
  Object.assign(flat.layers[0], {skeleton: 1});
  Object.assign(page, {flat, live: true, box: ABOUT, floor: ABOUT.low[1], title: 'jaxpose: 3D pose with its uncertainty', note: 'Everything is computed in this browser. No picture leaves this machine.'});
  page.skeletons.push({...skeletons[0], lines: input_lines});
  Object.assign(flat, {low: [0, 0], high: [640, 480]});
  Object.assign(page.steps, {start: page.steps.labels.length - 1});
  page.caption = page.caption.filter(part => /^(metres|grid)/.test(part));
  clear(page);
  return page;
}

/** No pose in any step. */
export function clear({layers, flat, uncertainty, steps}) {
  for (const values of [...layers, ...flat.layers].map(layer => layer.poses).concat(uncertainty.mean)) values.fill(NaN);
  uncertainty.mm.fill(UNKNOWN);
  steps.labels.fill('');
}

/** One step further: of the answer {keypoints, confidence, samples, mean, covariance, radius_90}, or null for no person. */
export function push(page, pose, label) {
  const {layers, flat: {layers: [points]}, uncertainty, steps: {labels}} = page;
  const turned = pose && {samples: pose.samples.map((x, i) => x * MIRROR[i % 3]), mean: pose.mean.map((x, i) => x * MIRROR[i % 3])};
  const extent = pose && spread(turned.samples, pose.covariance.map((x, i) => x * MIRROR[Math.floor((i % 9) / 3)] * MIRROR[i % 3]));
  // of an array [lead, steps, ...] the first step goes, and values [lead or more, ...], or gaps, are the last
  const last = (array, lead, values, gap = NaN) => {
    const row = array.length / lead, size = row / labels.length;
    for (let l = 0; l < lead; l++) {
      array.copyWithin(l * row, l * row + size, (l + 1) * row);
      const end = array.subarray((l + 1) * row - size, (l + 1) * row);
      if (values) end.set(values.subarray(l * size, (l + 1) * size));
      else end.fill(gap);
    }
  };
  for (const layer of layers) last(layer.poses, layer.count, turned?.[layer.group === 'mean' ? 'mean' : 'samples']);
  last(points.poses, 1, pose?.keypoints);
  last(points.strength, 1, pose?.confidence.map(sure => Math.round(255 * sure)));
  last(uncertainty.mean, 1, turned?.mean);
  last(uncertainty.shape, 1, extent?.shape);
  last(uncertainty.inner, 1, extent?.inner.map(share => Math.round(255 * share)));
  last(uncertainty.mm, 1, pose?.radius_90.map(metres => Math.min(UNKNOWN - 1, Math.round(1000 * metres))), UNKNOWN);
  labels.push(label);
  labels.shift();
  if (!pose) return;
  Object.assign(pose, extent);
  const lowest = turned.mean.reduce((least, y, i) => (i % 3 === 1 ? Math.min(least, y) : least), 0) - 0.05;
  page.floor += 0.1 * (lowest - page.floor);
}
