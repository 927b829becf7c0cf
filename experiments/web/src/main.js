// The page: pictures to the worker, poses to the screen. `window.jaxpose` has the state, for tests and for the curious.

import {buildLegend} from '../../../jaxpose/app/viz/web/legend.js';
import {Viewer} from '../../../jaxpose/app/viz/web/viewer.js';
import {clear, emptyPage, push} from './history.js';
import {close, everyPicture, openCamera, openFile} from './source.js';

const MOST_PIXELS = 1280; // of the longer side of a picture that the detector gets
const $ = id => document.getElementById(id);
const video = $('video');
const state = (window.jaxpose = {ready: false, last: null, poses: 0, message: '', times: {}, fps: 0, lift});
let worker, facts, viewer, waiting = new Map(), flying = 0, session = 0, sessions = 0, stamps = [], starting;

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
  facts = state.facts = await (await fetch('lift.json')).json();
  viewer = state.viewer = new Viewer(await emptyPage(facts));
  viewer.show.hidden.clear();
  buildLegend(viewer);
  await startWorker();
  requestAnimationFrame(keepPace);
}

/** The video stands still while the page does. */
function keepPace() {
  requestAnimationFrame(keepPace);
  const {playing} = viewer.timeline;
  if (!session || video.paused !== playing) return;
  if (playing) video.play();
  else video.pause();
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

function posed({pose, times, frame, seconds, width, height}) {
  const {content, panel, timeline} = viewer;
  for (const name of ['detector', 'read', ...(pose ? ['sampler'] : [])]) settle(name, times[name]);
  if (!timeline.playing) return frame.close();
  state.last = pose;
  content.flat.high = [width, height];
  panel.pictures.shift()?.close();
  panel.pictures[content.steps.labels.length - 1] = frame;
  push(content, pose, `${seconds.toFixed(2)} s`);
  timeline.arrived();
  if (!pose) return say('Nobody is found in the picture. The whole body should be seen.');
  say('');
  state.poses++;
  const now = performance.now();
  stamps = [...stamps.filter(t => now - t < 2000), now];
  state.fps = stamps.length > 1 ? (1000 * (stamps.length - 1)) / (now - stamps[0]) : 0;
  if (viewer.milliseconds !== undefined) settle('drawing', viewer.milliseconds);
  state.times = {...slow};
  const words = {detector: 'detector', read: 'reading the picture', sampler: 'sampler', drawing: 'drawing'};
  const parts = Object.entries(words).filter(([name]) => slow[name] !== undefined).map(([name, word]) => `${word} ${slow[name].toFixed(1)} ms`);
  $('times').textContent = [`${state.fps.toFixed(1)} poses a second`, ...parts, state.runsOn].join(' · ');
}

/** A new picture: to the worker, unless two are on their way. */
async function take(seconds) {
  if (!session || !state.ready || flying > 1 || !video.videoWidth || !viewer.timeline.playing) return;
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

async function begin(open) {
  try {
    say('Opening …');
    await open();
    session = ++sessions;
    stamps = [];
    viewer.timeline.toggle(true);
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
  for (const picture of viewer.panel.pictures.splice(0)) picture?.close();
  clear(viewer.content);
  viewer.timeline.arrived();
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
everyPicture(video, take);
start().catch(error => fail(`The page cannot start: ${error.message}`));
