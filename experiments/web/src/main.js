// The page: pictures to the worker, poses to the screen. `window.jaxpose` has the state, for tests and for the curious.

import {colourOf, makeScene} from './scene.js';
import {close, everyPicture, openCamera, openFile} from './source.js';

const MOST_PIXELS = 1280; // of the longer side of a picture that the detector gets
const LISTED = ['neck_nose', 'left_shoulder', 'right_shoulder', 'left_elbow', 'right_elbow', 'left_wrist', 'right_wrist', 'left_knee', 'right_knee', 'left_ankle', 'right_ankle'];
const $ = id => document.getElementById(id);
const video = $('video'), ink = $('skeleton').getContext('2d');
const state = (window.jaxpose = {ready: false, last: null, poses: 0, message: '', times: {}, fps: 0, lift});
let worker, facts, scene, waiting = new Map(), flying = 0, session = 0, sessions = 0, stamps = [], fresh = false, picture = null, starting;

const slow = {}; // running means of milliseconds
const settle = (name, value) => (slow[name] = slow[name] === undefined ? value : 0.9 * slow[name] + 0.1 * value);

function say(sentence, bad = false) {
  state.message = $('message').textContent = sentence;
  $('message').classList.toggle('bad', bad);
}

/** Outputs of the model, by name, for arrays {keypoints, confidence, intrinsics, noise} of its inputs. */
function lift(given) {
  const id = waiting.size + Math.random();
  return new Promise(resolve => {
    waiting.set(id, resolve);
    worker.postMessage({lift: given, id});
  });
}

async function start() {
  theme(localStorage.getItem('theme') ?? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light'));
  facts = state.facts = await (await fetch('lift.json')).json();
  $('count').textContent = facts.inputs.noise[1];
  try {
    scene = makeScene($('scene'), facts);
    theme(document.documentElement.dataset.theme);
    shown();
  } catch {
    $('space').querySelector('.hint').textContent = 'This browser has no WebGL 2, so that nothing can be drawn in 3D here. Poses are computed all the same.';
  }
  listRadii();
  await startWorker();
  requestAnimationFrame(paint);
}

/** (Re)start the worker with the networks that are chosen. */
async function startWorker() {
  worker?.terminate();
  flying = 0;
  state.ready = false;
  for (const id of ['camera', 'open']) $(id).disabled = true;
  if (!window.WebAssembly || !window.OffscreenCanvas) throw new Error('This browser is too old: it lacks WebAssembly or OffscreenCanvas.');
  worker = new Worker('worker.js');
  say('Loading the networks …');
  worker.onerror = event => fail(`The worker stopped: ${event.message || 'one of its files cannot be loaded'}.`);
  const folder = new URL('.', location.href).href;
  const ready = new Promise(resolve => (starting = resolve));
  worker.onmessage = received;
  worker.postMessage({start: {folder, facts, detector: $('detector').value}});
  return ready;
}

function fail(sentence) {
  state.failed = sentence;
  say(sentence, true);
}

function received({data}) {
  if (data.ready) {
    Object.assign(state, {ready: true, noise: data.ready.noise, runsOn: data.ready.runsOn, detector: data.ready.detector});
    $('runs-on').textContent = data.ready.runsOn;
    for (const id of ['camera', 'open']) $(id).disabled = false;
    say('');
    starting();
  } else if (data.failed) {
    flying = 0;
    fail(data.failed);
  } else if (data.lifted) {
    waiting.get(data.id)(data.lifted);
    waiting.delete(data.id);
  } else {
    flying--;
    if (session) posed(data);
    else data.frame.close();
  }
}

function posed({pose, times, frame}) {
  picture?.close();
  picture = frame;
  settle('detector', times.detector);
  settle('read', times.read);
  if (!pose) {
    state.last = null;
    sketch();
    return say('Nobody is found in the picture. The whole body should be seen.');
  }
  settle('sampler', times.sampler);
  say('');
  state.last = pose;
  state.poses++;
  const now = performance.now();
  stamps = [...stamps.filter(t => now - t < 2000), now];
  state.fps = stamps.length > 1 ? (1000 * (stamps.length - 1)) / (now - stamps[0]) : 0;
  fresh = true;
}

/** A new picture: to the worker, unless two are on their way. */
async function take(seconds) {
  if (!session || !state.ready || flying > 1 || !video.videoWidth) return;
  flying++;
  const mine = session, scale = Math.min(1, MOST_PIXELS / Math.max(video.videoWidth, video.videoHeight));
  const size = scale < 1 && {resizeWidth: Math.round(scale * video.videoWidth), resizeHeight: Math.round(scale * video.videoHeight)};
  try {
    const frame = await createImageBitmap(video, size || {});
    if (mine !== session) {
      frame.close();
      flying--;
    } else worker.postMessage({frame, seconds, fov: fov()}, [frame]);
  } catch {
    flying--; // the video was closed while the picture was taken
  }
}

const fov = () => ($('fov').value * Math.PI) / 180;

function paint() {
  requestAnimationFrame(paint);
  const pose = state.last;
  if (fresh && pose) {
    fresh = false;
    sketch();
    radii(pose);
    scene?.draw(pose);
    shown();
    numbers();
  }
  const drawing = scene?.render();
  if (drawing !== undefined) settle('drawing', drawing);
}

/** The picture of the last answer, and the landmarks over it. */
function sketch() {
  const {canvas} = ink, {width, height} = picture;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, {width, height});
  ink.globalAlpha = 1;
  ink.drawImage(picture, 0, 0);
  if (!state.last) return;
  const {keypoints, confidence} = state.last;
  ink.lineWidth = Math.max(width, height) / 240;
  const at = k => [keypoints[2 * k], keypoints[2 * k + 1]];
  const tint = k => (facts.input_left.includes(k) ? '#4aa3ff' : facts.input_right.includes(k) ? '#ff9550' : '#e8ecf2');
  facts.input_lines.forEach(([a, b]) => {
    ink.globalAlpha = Math.min(confidence[a], confidence[b]);
    ink.strokeStyle = tint(b);
    ink.beginPath();
    ink.moveTo(...at(a));
    ink.lineTo(...at(b));
    ink.stroke();
  });
  for (let k = 0; k < confidence.length; k++) {
    ink.globalAlpha = confidence[k];
    ink.fillStyle = tint(k);
    ink.beginPath();
    ink.arc(...at(k), ink.lineWidth, 0, 7);
    ink.fill();
  }
}

function listRadii() {
  const rows = LISTED.filter(name => facts.joints.includes(name));
  $('radii').innerHTML = rows.map(n => `<dt>${n.replace('neck_nose', 'face').replace('_', ' ')}</dt><i data-joint="${facts.joints.indexOf(n)}"></i><dd>–</dd>`).join('');
}

function radii({radius_90}) {
  for (const bar of $('radii').querySelectorAll('i')) {
    const r = radius_90[bar.dataset.joint];
    bar.style.width = `${Math.min(100, 500 * r)}%`;
    bar.style.background = `#${colourOf(r).getHexString()}`;
    bar.nextElementSibling.textContent = (100 * r).toFixed(1);
  }
}

function numbers() {
  state.times = {...slow};
  $('fps').textContent = state.fps.toFixed(1);
  for (const name of ['detector', 'sampler', 'drawing']) $(`t-${name}`).textContent = slow[name] === undefined ? '–' : `${slow[name].toFixed(1)} ms`;
}

function shown() {
  scene?.show({radius: $('show-radius').checked, hypotheses: $('show-hypotheses').checked, mean: $('show-mean').checked});
}

function theme(name) {
  document.documentElement.dataset.theme = name;
  scene?.restyle(getComputedStyle(document.documentElement).getPropertyValue('--grid').trim());
}

async function begin(open) {
  try {
    say('Opening …');
    await open();
    session = ++sessions;
    stamps = [];
    $('start').hidden = true;
    $('stop').hidden = false;
    say('');
  } catch (error) {
    stop();
    say(error.message, true);
  }
}

function stop() {
  session = 0;
  close(video);
  state.last = null;
  ink.clearRect(0, 0, ink.canvas.width, ink.canvas.height);
  $('start').hidden = false;
  $('stop').hidden = true;
  say('');
}

$('camera').onclick = () => begin(() => openCamera(video));
$('open').onclick = () => $('file').click();
$('file').onchange = ({target}) => target.files[0] && begin(() => openFile(video, target.files[0])).then(() => (target.value = ''));
$('stop').onclick = stop;
$('fov').oninput = () => ($('degrees').textContent = `${$('fov').value}°`);
$('detector').onchange = () => startWorker().catch(error => fail(error.message));
$('scene').ondblclick = () => scene?.reset();
$('theme').onclick = () => {
  const next = document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark';
  localStorage.setItem('theme', next);
  theme(next);
};
for (const id of ['show-radius', 'show-hypotheses', 'show-mean']) $(id).onchange = shown;
everyPicture(video, take);
start().catch(error => fail(`The page cannot start: ${error.message}`));
