// node drive.mjs URL OUT [--camera FILE.mjpeg | --video FILE | --deny] [--seconds N] [--lift INPUTS.json] [--size WxH]
//                [--press KEY]... [--dark] [--detector full] [--flag CHROMIUM_FLAG]...
//
// Opens the page in headless Chromium and writes OUT.json, what `window.jaxpose` says, and OUT.png. --camera gives the browser
// a recorded film as its camera; --video opens a file by the button; --deny gives no permission. --lift has the page lift
// keypoints and noise that are given, frame by frame. Keys are pressed in the end.

import {readFileSync, writeFileSync} from 'node:fs';
import {parseArgs} from 'node:util';

import puppeteer from 'puppeteer-core';

const {values: given, positionals: [url, out]} = parseArgs({
  allowPositionals: true,
  options: {
    camera: {type: 'string'}, video: {type: 'string'}, deny: {type: 'boolean'}, seconds: {type: 'string', default: '10'},
    lift: {type: 'string'}, size: {type: 'string', default: '1440x900'}, dark: {type: 'boolean'},
    detector: {type: 'string'}, press: {type: 'string', multiple: true, default: []}, flag: {type: 'string', multiple: true, default: []}, 'no-webgl': {type: 'boolean'},
  },
});
const [width, height] = given.size.split('x').map(Number);
const flags = ['--no-sandbox', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--mute-audio', ...given.flag];
flags.push(...(given['no-webgl'] ? ['--disable-gpu', '--disable-3d-apis'] : ['--enable-unsafe-swiftshader']));
if (given.camera) flags.push('--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream', `--use-file-for-fake-video-capture=${given.camera}`);
if (given.deny) flags.push('--use-fake-device-for-media-stream', '--deny-permission-prompts');
const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
const browser = await puppeteer.launch({executablePath, headless: true, args: flags});
const said = [];
try {
  const page = await browser.newPage();
  await page.setViewport({width, height, isMobile: width < 500, hasTouch: width < 500, deviceScaleFactor: 1});
  await page.emulateMediaFeatures([{name: 'prefers-color-scheme', value: given.dark ? 'dark' : 'light'}]);
  page.on('pageerror', error => said.push(`error: ${error.message}`));
  page.on('requestfailed', request => said.push(`not loaded: ${request.url()}`));
  const asked = [];
  page.on('request', request => asked.push(request.url()));
  await page.goto(url);
  const settled = () => page.waitForFunction('window.jaxpose?.ready || window.jaxpose?.failed', {timeout: 120000});
  await settled();
  if (given.detector) {
    await page.select('#detector', given.detector);
    await settled();
  }
  const result = {isolated: await page.evaluate('crossOriginIsolated'), cores: await page.evaluate('navigator.hardwareConcurrency')};
  if (given.lift) {
    const inputs = JSON.parse(readFileSync(given.lift));
    result.lifted = await page.evaluate(async list => {
      const found = [];
      for (const one of list) {
        const outputs = await window.jaxpose.lift(one);
        found.push(Object.fromEntries(Object.entries(outputs).map(([name, x]) => [name, Array.from(x)])));
      }
      return found;
    }, inputs);
  }
  if (given.video) {
    const input = await page.$('#file');
    await input.uploadFile(given.video);
  } else if (given.camera || given.deny) {
    await page.click('#camera');
  }
  if (given.camera || given.video || given.deny) {
    await page.waitForFunction('window.jaxpose.poses > 0 || document.querySelector("#message.bad")', {timeout: 60000}).catch(() => {});
    const before = await page.evaluate('({poses: window.jaxpose.poses, now: performance.now()})');
    const cpu = await page.metrics();
    await new Promise(resolve => setTimeout(resolve, 1000 * given.seconds));
    const after = await page.evaluate('({poses: window.jaxpose.poses, now: performance.now()})');
    result.posesPerSecond = (1000 * (after.poses - before.poses)) / (after.now - before.now);
    result.pageCpu = ((await page.metrics()).TaskDuration - cpu.TaskDuration) / given.seconds;
  }
  for (const key of given.press) await page.keyboard.press(key);
  Object.assign(result, await page.evaluate(() => {
    const {message, failed, times, fps, poses, runsOn, detector, last, noise, viewer: {show, timeline: {step, playing}}} = window.jaxpose;
    const joints = show.skeletons[0].joints.map((_, j) => j), end = show.steps - 1;
    const shown = {step, playing, mean: joints.map(j => show.joint(show.main, 0, end, j)), radius: joints.map(j => show.uncertainty.radius(0, end, j))};
    const plain = x => x && Object.fromEntries(Object.entries(x).map(([k, v]) => [k, ArrayBuffer.isView(v) ? Array.from(v) : v]));
    return {message, failed, times, fps, poses, runsOn, detector, shown, last: plain(last), noise: noise && Array.from(noise)};
  }));
  result.said = said;
  result.elsewhere = asked.filter(address => !address.startsWith(new URL(url).origin) && !address.startsWith('blob:') && !address.startsWith('data:'));
  await page.screenshot({path: `${out}.png`, fullPage: given.size.startsWith('390')});
  writeFileSync(`${out}.json`, JSON.stringify(result));
  const ms = Object.entries(result.times).map(([name, value]) => `${name} ${value.toFixed(1)} ms`).join(', ');
  if (result.posesPerSecond !== undefined) console.log(`${result.posesPerSecond.toFixed(1)} poses a second: ${ms}; ${result.runsOn}; ${result.cores} cores`);
  if (result.message) console.log(result.message);
} finally {
  await browser.close();
}
