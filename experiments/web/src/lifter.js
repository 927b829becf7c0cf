// The exported sampler (`jaxpose export --format onnx`) in onnxruntime-web.

import * as ort from 'onnxruntime-web/wasm';

/**
 * {joints, parents, left, right, noise, lift}: the file's skeleton, noise of its shape, and the function
 * ({keypoints, confidence, intrinsics, noise?}) -> arrays of its outputs by name.
 *
 * Noise is drawn once: the same hypothesis of neighbouring frames then has the same noise and moves as smoothly as the
 * keypoints. facts: metadata of the file, which the build writes beside it.
 */
export async function loadLifter(folder, facts) {
  // one thread: the two calls take about 5 ms in one and longer in two, whose waiting costs more than it saves
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = {mjs: `${folder}ort-wasm-simd-threaded.mjs`, wasm: `${folder}ort-wasm-simd-threaded.wasm`};
  const session = await ort.InferenceSession.create(`${folder}lift.onnx`, {executionProviders: ['wasm']});
  const {inputs} = facts;
  const fixed = normals(inputs.noise.reduce((a, b) => a * b));

  async function lift({keypoints, confidence, intrinsics, noise = fixed}) {
    const given = {keypoints, confidence, intrinsics, noise};
    const feeds = Object.entries(given).map(([name, x]) => [name, new ort.Tensor('float32', Float32Array.from(x), inputs[name])]);
    const found = await session.run(Object.fromEntries(feeds));
    return Object.fromEntries(Object.entries(found).map(([name, tensor]) => [name, tensor.data]));
  }

  return {...facts, noise: fixed, lift};
}

/** Standard normal numbers (Box and Muller, 1958). */
function normals(count) {
  return Float32Array.from({length: count}, () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random()));
}
