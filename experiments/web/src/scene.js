// The posterior of one pose in WebGL: hypotheses, their mean, and what holds each joint with 90 % probability.
//
// Units are metres; camera axes (x right, y down, z forward) become three's (x right, y up, z towards the viewer).

import * as THREE from 'three';
import {OrbitControls} from 'three/addons/controls/OrbitControls.js';

const SIDES = 28; // of a tube
const BONE = 0.016; // metres, radius of the mean's bones
const COLOURS = {left: 0x2f7ed8, right: 0xe0702b, middle: 0x7d8794};
// radius in metres -> colour, linear between: from sure to unsure
const SCALE = [[0.02, 0x2a9d8f], [0.06, 0xe9c46a], [0.1, 0xf4a261], [0.16, 0xd1495b]].map(([r, c]) => [r, new THREE.Color(c)]);

/** Colour of a 90 % radius in metres. */
export function colourOf(radius) {
  const next = SCALE.findIndex(([r]) => radius < r);
  if (next === 0) return SCALE[0][1];
  if (next < 0) return SCALE.at(-1)[1];
  const [[r0, c0], [r1, c1]] = [SCALE[next - 1], SCALE[next]];
  return c0.clone().lerp(c1, (radius - r0) / (r1 - r0));
}

/**
 * {draw, show, restyle, resize, reset} of a canvas; throws where there is no WebGL 2.
 *
 * draw({mean [J * 3], radius_90 [J], samples [H * J * 3]}): root-relative metres. show({hypotheses, radius, mean}): what is
 * seen. skeleton: {parents [J], left [..], right [..]}, the joints of the sides by index.
 */
export function makeScene(canvas, {parents, left, right}) {
  const renderer = new THREE.WebGLRenderer({canvas, antialias: true, alpha: true});
  const scene = new THREE.Scene(), camera = new THREE.PerspectiveCamera(38, 1, 0.05, 50);
  const controls = new OrbitControls(camera, canvas);
  controls.enableDamping = true;
  controls.minDistance = 0.8;
  controls.maxDistance = 9;
  scene.add(new THREE.HemisphereLight(0xffffff, 0x8890a0, 2.2));
  const sun = new THREE.DirectionalLight(0xffffff, 1.6);
  sun.position.set(1.5, 3, 2.5);
  scene.add(sun);
  const floor = new THREE.GridHelper(4, 16);
  floor.material.transparent = true;
  scene.add(floor);

  const bones = parents.map((parent, joint) => [parent, joint]).filter(([parent]) => parent >= 0);
  const side = joint => (left.includes(joint) ? 'left' : right.includes(joint) ? 'right' : 'middle');
  const own = bones.map(([, joint]) => new THREE.Color(COLOURS[side(joint)]));

  const mean = tubes(bones, new THREE.MeshLambertMaterial({vertexColors: true}));
  const knots = spheres(parents.length, mean.mesh.material);
  knots.frustumCulled = false;
  const middle = new THREE.Group().add(mean.mesh, knots);
  scene.add(middle);
  // Drawn twice, first for its depth alone: of overlapping surfaces only the nearest is blended, once. `transparent` puts
  // that pass after the hypotheses, which would be hidden inside otherwise.
  const shellLook = new THREE.MeshLambertMaterial({vertexColors: true, transparent: true, opacity: 0.3});
  const shell = tubes(bones, shellLook), under = new THREE.Mesh(shell.mesh.geometry, new THREE.MeshBasicMaterial({colorWrite: false, transparent: true}));
  const balls = spheres(parents.length, shellLook), ballsUnder = new THREE.InstancedMesh(balls.geometry, under.material, parents.length);
  ballsUnder.instanceMatrix = balls.instanceMatrix;
  for (const part of [under, ballsUnder]) part.renderOrder = 2;
  for (const part of [shell.mesh, balls]) part.renderOrder = 3;
  const cloud = new THREE.Group().add(under, ballsUnder, shell.mesh, balls);
  for (const part of cloud.children) part.frustumCulled = false;
  scene.add(cloud);
  const strands = new THREE.LineSegments(new THREE.BufferGeometry(), new THREE.LineBasicMaterial({vertexColors: true, transparent: true, opacity: 0.4, depthWrite: false}));
  strands.frustumCulled = false;
  strands.renderOrder = 1;
  scene.add(strands);
  let ground = null, changed = true;

  function draw(pose) {
    const points = pointsOf(pose.mean, 0, parents.length);
    const radii = Array.from(pose.radius_90);
    const colours = radii.map(colourOf);
    mean.set(points, () => BONE, bone => [own[bone], own[bone]]);
    shell.set(points, joint => radii[joint], bone => bones[bone].map(joint => colours[joint]));
    balls.place(points, radii, colours);
    knots.place(points, radii.map(() => 1.25 * BONE), radii.map((_, joint) => new THREE.Color(COLOURS[side(joint)])));
    setStrands(pose.samples);
    const lowest = Math.min(...points.map(point => point.y)) - 0.08;
    ground = ground === null ? lowest : ground + 0.1 * (lowest - ground);
    floor.position.y = ground;
    for (const part of [middle, cloud, strands]) part.userData.drawn = changed = true;
  }

  function setStrands(samples) {
    const size = 3 * parents.length, num = samples.length / size, count = 6 * bones.length;
    const geometry = strands.geometry;
    if (geometry.attributes.position?.count !== (num * count) / 3) {
      geometry.setAttribute('position', new THREE.BufferAttribute(new Float32Array(num * count), 3));
      const tint = Array.from({length: num}, () => own.flatMap(colour => [...colour, ...colour])).flat();
      geometry.setAttribute('color', new THREE.BufferAttribute(Float32Array.from(tint), 3));
    }
    const to = geometry.attributes.position.array;
    let k = 0;
    for (let h = 0; h < num; h++) {
      for (const bone of bones) {
        for (const joint of bone) {
          const from = h * size + 3 * joint;
          to[k++] = samples[from];
          to[k++] = -samples[from + 1];
          to[k++] = -samples[from + 2];
        }
      }
    }
    geometry.attributes.position.needsUpdate = true;
  }

  const reset = () => {
    camera.position.set(1.2, 0.4, 3.6);
    controls.target.set(0, -0.12, 0);
  };
  reset();

  return {
    draw,
    reset,
    show(what) {
      middle.visible = what.mean && !!middle.userData.drawn;
      cloud.visible = what.radius && !!cloud.userData.drawn;
      strands.visible = what.hypotheses && !!strands.userData.drawn;
      changed = true;
    },
    restyle(lines) {
      floor.material.color.set(lines);
      floor.material.vertexColors = false;
      floor.material.needsUpdate = changed = true;
    },
    /** Draws a picture where something has changed: the milliseconds of this thread that it took, or undefined. */
    render() {
      const {clientWidth: width, clientHeight: height} = canvas;
      const ratio = Math.min(window.devicePixelRatio, 2);
      if (width && height && (canvas.width !== Math.floor(width * ratio) || canvas.height !== Math.floor(height * ratio))) {
        renderer.setPixelRatio(ratio);
        renderer.setSize(width, height, false);
        camera.aspect = width / height;
        camera.updateProjectionMatrix();
        changed = true;
      }
      changed = controls.update() || changed; // it goes on turning for a while after a drag
      if (!changed) return undefined;
      changed = false;
      const began = performance.now();
      renderer.render(scene, camera);
      return performance.now() - began;
    },
  };
}

function pointsOf(flat, first, count) {
  return Array.from({length: count}, (_, j) => {
    const k = first + 3 * j;
    return new THREE.Vector3(flat[k], -flat[k + 1], -flat[k + 2]);
  });
}

function spheres(count, material) {
  const mesh = new THREE.InstancedMesh(new THREE.SphereGeometry(1, 32, 20), material, count);
  mesh.setColorAt(0, new THREE.Color());
  // one material for tubes and balls: these have the colour of the instance, white at every vertex
  const white = new Float32Array(3 * mesh.geometry.attributes.position.count).fill(1);
  mesh.geometry.setAttribute('color', new THREE.BufferAttribute(white, 3));
  const matrix = new THREE.Matrix4();
  mesh.place = (points, radii, colours) => {
    points.forEach((point, n) => {
      const r = Math.max(radii[n], 1e-4);
      mesh.setMatrixAt(n, matrix.makeScale(r, r, r).setPosition(point));
      mesh.setColorAt(n, colours[n]);
    });
    mesh.instanceMatrix.needsUpdate = mesh.instanceColor.needsUpdate = true;
  };
  return mesh;
}

/** One mesh of a tapered tube for each bone; set(points, radius of a joint, colours of a bone's ends) moves it. */
function tubes(bones, material) {
  const geometry = new THREE.BufferGeometry(), count = bones.length * 2 * SIDES;
  const [position, normal, color] = ['position', 'normal', 'color'].map(name => {
    const attribute = new THREE.BufferAttribute(new Float32Array(3 * count), 3);
    geometry.setAttribute(name, attribute);
    return attribute;
  });
  const faces = bones.flatMap((_, bone) =>
    Array.from({length: SIDES}, (_, i) => {
      const a = bone * 2 * SIDES + i, b = bone * 2 * SIDES + ((i + 1) % SIDES);
      return [a, b, a + SIDES, b, b + SIDES, a + SIDES];
    }).flat());
  geometry.setIndex(faces);
  const mesh = new THREE.Mesh(geometry, material);
  mesh.frustumCulled = false;
  const axis = new THREE.Vector3(), u = new THREE.Vector3(), v = new THREE.Vector3(), out = new THREE.Vector3();

  function set(points, radius, colours) {
    bones.forEach((bone, n) => {
      axis.subVectors(points[bone[1]], points[bone[0]]);
      u.set(Math.abs(axis.y) > 0.9 * axis.length() ? 1 : 0, Math.abs(axis.y) > 0.9 * axis.length() ? 0 : 1, 0);
      u.cross(axis).normalize();
      v.crossVectors(axis, u).normalize();
      const tint = colours(n);
      for (let end = 0; end < 2; end++) {
        const r = radius(bone[end]);
        for (let i = 0; i < SIDES; i++) {
          const k = (n * 2 + end) * SIDES + i, angle = (2 * Math.PI * i) / SIDES;
          out.copy(u).multiplyScalar(Math.cos(angle)).addScaledVector(v, Math.sin(angle));
          normal.setXYZ(k, out.x, out.y, out.z);
          out.multiplyScalar(r).add(points[bone[end]]);
          position.setXYZ(k, out.x, out.y, out.z);
          color.setXYZ(k, tint[end].r, tint[end].g, tint[end].b);
        }
      }
    });
    for (const attribute of [position, normal, color]) attribute.needsUpdate = true;
  }
  return {mesh, set};
}
