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

// the library's page with the demo's controls, and its script in place of the page's own
const library = path.join(here, '../../jaxpose/app/viz/web'), text = (...parts) => readFileSync(path.join(...parts), 'utf8');
const page = [
  [/<meta http-equiv.*\n/, text(here, 'static/head.html')],
  ['@TITLE@', 'jaxpose in the browser'],
  ['@STYLE@', text(library, 'style.css') + text(here, 'static/style.css')],
  ['<div class="tools">', `<div class="tools">\n${text(here, 'static/tools.html')}`],
  ['<figure id="flat" hidden>', `<figure id="flat" hidden>\n${text(here, 'static/start.html')}`],
  ['</footer>', `${text(here, 'static/about.html')}</footer>`],
  [/<script type="application[^]*<\/script>/, '<script src="main.js"></script>'],
].reduce((html, [place, part]) => {
  if (html.split(place).length !== 2) throw new Error(`page.html of the library: needed ${place} once`);
  return html.replace(place, () => part);
}, text(library, 'page.html'));
writeFileSync(path.join(out, 'index.html'), page);

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
const packages = ['@litertjs/core', '@litertjs/wasm-utils', '@mediapipe/pose', 'onnxruntime-web', 'onnxruntime-common'].map(licence);
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
