// node build.mjs OUT: bundles the page into the folder OUT, in which `jaxpose export` has put lift.onnx and lift.json.

import {cpSync, existsSync, mkdirSync, readFileSync, statSync, readdirSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {fileURLToPath} from 'node:url';

import {build} from 'esbuild';

const here = path.dirname(fileURLToPath(import.meta.url)), modules = path.join(here, 'node_modules');
const [out] = process.argv.slice(2);
if (!out || !existsSync(path.join(out, 'lift.onnx')) || !existsSync(path.join(out, 'lift.json'))) {
  console.error('build.mjs: needed a folder with lift.onnx and lift.json; `make web` makes it');
  process.exit(2);
}

// package -> [files, folder in OUT], as they are
const FILES = {
  '@litertjs/core': [['wasm/litert_wasm_internal', 'wasm/litert_wasm_compat_internal', 'wasm/litert_wasm_threaded_internal'].flatMap(f => [`${f}.js`, `${f}.wasm`]), 'litert'],
  'onnxruntime-web': [['dist/ort-wasm-simd-threaded.mjs', 'dist/ort-wasm-simd-threaded.wasm'], '.'],
  '@mediapipe/pose': [['pose_landmark_lite.tflite', 'pose_landmark_full.tflite'], '.'],
};
mkdirSync(path.join(out, 'litert'), {recursive: true});
cpSync(path.join(here, 'static'), out, {recursive: true});
for (const [name, [files, folder]] of Object.entries(FILES)) {
  for (const file of files) cpSync(path.join(modules, name, file), path.join(out, folder, path.basename(file)));
}
// this "packed asset" is the detector's network, whole and alone
cpSync(path.join(modules, '@mediapipe/pose/pose_solution_packed_assets.data'), path.join(out, 'pose_detection.tflite'));
await build({
  entryPoints: ['main', 'worker'].map(name => path.join(here, 'src', `${name}.js`)),
  outdir: out, bundle: true, minify: true, format: 'iife', target: 'es2022', logLevel: 'error',
  define: {'import.meta.url': 'self.location.href'}, // of onnxruntime-web, which looks for its files there unless told
});

const licence = name => {
  const folder = path.join(modules, name), {version, license} = JSON.parse(readFileSync(path.join(folder, 'package.json')));
  const file = readdirSync(folder).find(f => /^licen[cs]e(\.md|\.txt)?$/i.test(f));
  const text = file ? readFileSync(path.join(folder, file), 'utf8') : '';
  return {title: `${name} ${version}: ${license}`, text, apache: license === 'Apache-2.0' && !file};
};
const APACHE = readFileSync(path.join(here, '../../LICENSE'), 'utf8');
const sources = readFileSync(path.join(here, '../../third_party/README.md'), 'utf8');
const REACTIDLE = sources.match(/^> MIT License\n(>.*\n)+/m)[0].replace(/^> ?/gm, '').trim(); // the permission notice
const facts = JSON.parse(readFileSync(path.join(out, 'lift.json')));
const packages = ['@litertjs/core', '@litertjs/wasm-utils', '@mediapipe/pose', 'onnxruntime-web', 'onnxruntime-common', 'three'].map(licence);
const parts = [
  `jaxpose ${facts.jaxpose} (the page and its code): Apache-2.0`,
  `lift.onnx (weights of the model ${facts.name}, trained on the CMU, HDM05 and ReActIdle motion capture databases): ${facts.licence}\n`
    + 'The data used in this project was obtained from mocap.cs.cmu.edu. The database was created with funding from NSF EIA-0196217.\n'
    + 'The data used in this project was obtained from HDM05.\n\n'
    + REACTIDLE,
  'pose_detection.tflite, pose_landmark_lite.tflite, pose_landmark_full.tflite (BlazePose, of @mediapipe/pose): Apache-2.0, Google LLC',
  ...packages.map(({title, text, apache}) => title + (apache ? ' (text at the end)' : `\n\n${text.trim()}`)),
  `Apache-2.0\n\n${APACHE.trim()}`,
];
writeFileSync(path.join(out, 'licences.txt'), parts.join(`\n\n${'-'.repeat(78)}\n\n`) + '\n');
const size = folder => readdirSync(folder, {withFileTypes: true}).reduce((sum, f) => sum + (f.isDirectory() ? size(path.join(folder, f.name)) : statSync(path.join(folder, f.name)).size), 0);
console.log(`wrote ${out}: ${(size(out) / 1e6).toFixed(1)} MB`);
