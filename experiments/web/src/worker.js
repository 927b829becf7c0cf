// Detector and sampler, beside the page's thread: frames in, poses out.
//
// in:  {start: {folder, detector, facts}}, {frame: ImageBitmap, seconds, fov}, {lift: {...}, id}
// out: {ready: {...}}, {pose: {...} | null, times, frame, seconds, width, height} (frame: the picture that it is of, small), {lifted: {...}, id}, {failed: sentence}

import {loadAndCompile, loadLiteRt, supportsFeature, Tensor} from '@litertjs/core';

import {blazepose} from './blazepose.js';
import {loadLifter} from './lifter.js';

const SHOWN = 640; // pixels of the longer side of pictures that the page keeps
const MOST_AWAY = 0.01; // of an output's largest value: how far WebGPU may be from WebAssembly
let detect, lifter, canvas, context;

async function start({folder, detector, facts}) {
  const threads = self.crossOriginIsolated && (await supportsFeature('relaxedSimd')) && navigator.hardwareConcurrency > 1;
  // in a worker LiteRT takes this script's place for its own
  const place = `${folder}litert/`;
  self.Module = {locateFile: name => place + name, mainScriptUrlOrBlob: `${place}litert_wasm_threaded_internal.js`};
  await loadLiteRt(place, {threads});
  const gpu = await adapter();
  const find = await compiled(`${folder}pose_detection.tflite`, 224, gpu, threads);
  const look = await compiled(`${folder}pose_landmark_${detector}.tflite`, 256, gpu, threads);
  detect = blazepose(find.run, look.run);
  lifter = await loadLifter(folder, facts);
  postMessage({ready: {noise: lifter.noise, detector, runsOn: look.runsOn}});
}

async function adapter() {
  try {
    return (await navigator.gpu?.requestAdapter()) ?? null;
  } catch {
    return null;
  }
}

/**
 * A network {run, runsOn} as a function from its input to its outputs; on the graphics processor where there is one that
 * computes what WebAssembly does: drivers differ, and not every network comes out right on all.
 */
async function compiled(url, size, gpu, threads) {
  const count = threads ? Math.min(4, navigator.hardwareConcurrency) : 1;
  const safe = await network(url, size, 'wasm', count);
  const usual = {run: safe, runsOn: `WebAssembly, ${count} thread${count > 1 ? 's' : ''}`};
  if (!gpu) return usual;
  try {
    const fast = await network(url, size, 'webgpu', count);
    const pattern = Float32Array.from({length: size * size * 3}, (_, i) => 0.5 + 0.5 * Math.sin(0.37 * i + 0.11 * (i >> 9)));
    const [expected, found] = [await safe(pattern), await fast(pattern)];
    const away = expected.map((x, n) => x.reduce((most, value, i) => Math.max(most, Math.abs(value - found[n][i])), 0) / norm(x));
    if (Math.max(...away) > MOST_AWAY) throw new Error(`its outputs differ by ${Math.max(...away).toFixed(3)} of their size`);
    return {run: fast, runsOn: 'WebGPU'};
  } catch (error) {
    console.warn(`${url}: not on WebGPU (${error.message}); WebAssembly is used`);
    return usual;
  }
}

const norm = x => x.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-6);

async function network(url, size, accelerator, numThreads) {
  const model = await loadAndCompile(url, {accelerator, cpuOptions: {numThreads}});
  const onGpu = accelerator === 'webgpu';
  return async input => {
    let tensor = new Tensor(input, [1, size, size, 3]);
    if (onGpu) tensor = await tensor.moveTo('webgpu');
    const outputs = await model.run(tensor);
    tensor.delete();
    const arrays = [];
    for (const output of outputs) {
      const local = onGpu ? await output.moveTo('wasm') : output;
      arrays.push(local.toTypedArray().slice());
      local.delete();
    }
    return arrays;
  };
}

async function pose({frame, seconds, fov}) {
  const began = performance.now(), {width, height} = frame;
  if (!canvas || canvas.width !== width || canvas.height !== height) {
    canvas = new OffscreenCanvas(width, height);
    context = canvas.getContext('2d', {willReadFrequently: true});
  }
  context.drawImage(frame, 0, 0);
  const image = context.getImageData(0, 0, width, height), read = performance.now();
  const person = await detect(image, seconds), found = performance.now();
  const times = {read: read - began, detector: found - read, sampler: 0};
  const shrink = Math.min(1, SHOWN / Math.max(width, height));
  const small = await createImageBitmap(frame, {resizeWidth: Math.round(shrink * width), resizeHeight: Math.round(shrink * height)});
  frame.close();
  const answer = {times, frame: small, seconds, width, height};
  if (!person) return postMessage({pose: null, ...answer}, [small]);
  const focal = (0.5 * Math.max(width, height)) / Math.tan(0.5 * fov);
  const given = {...person, intrinsics: Float32Array.of(focal, focal, width / 2, height / 2)};
  const begun = performance.now(), lifted = await lifter.lift(given);
  times.sampler = performance.now() - begun;
  postMessage({pose: {...given, ...lifted, seconds, width, height}, ...answer}, [small]);
}

onmessage = async ({data}) => {
  try {
    if (data.start) await start(data.start);
    else if (data.frame) await pose(data);
    else postMessage({lifted: await lifter.lift(data.lift), id: data.id});
  } catch (error) {
    postMessage({failed: error.message ?? String(error)});
  }
};
