// Draws a frame: floor, shadows, solid capsules and meshes, lines, and what is seen through.

import { CAPSULE, FLOOR, FLOOR_PIXEL, LINE, LINE_PIXEL, MESH, SHADED } from "./shaders.js";
import { dot } from "./vectors.js";

const CAPSULE_FLOATS = 26, LINE_FLOATS = 14;

export class Renderer {
  constructor(canvas) {
    this.canvas = canvas;
    const gl = (this.gl = canvas.getContext("webgl2", { antialias: true, stencil: true, preserveDrawingBuffer: true }));
    if (!gl) throw new Error("This browser has no WebGL 2, so that nothing can be drawn in 3D here.");
    this.capsule = this.program(CAPSULE, SHADED);
    this.line = this.program(LINE, LINE_PIXEL);
    this.mesh = this.program(MESH, SHADED);
    this.floor = this.program(FLOOR, FLOOR_PIXEL);
    const ball = capsuleMesh(14, 5);
    this.capsules = this.instanced(ball.corners, 4, [3, 3, 3, 3, 3, 3, 4, 4], ball.faces);
    this.lines = this.instanced(new Float32Array([-1, 0, 1, 0, -1, 1, 1, 1]), 2, [3, 3, 4, 4], new Uint16Array([0, 1, 2, 2, 1, 3]));
    this.plane = this.instanced(new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]), 2, [], new Uint16Array([0, 1, 2, 2, 1, 3]));
    this.blank = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, this.blank);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 1, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, null);
    gl.vertexAttribI4ui(2, 0, 0, 0, 0); // of meshes that have no joints
    gl.enable(gl.BLEND);
    gl.blendFuncSeparate(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA, gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  program(vertex, fragment) {
    const gl = this.gl, program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    const at = {}, count = gl.getProgramParameter(program, gl.ACTIVE_UNIFORMS);
    for (let i = 0; i < count; i++) {
      const { name } = gl.getActiveUniform(program, i);
      at[name] = gl.getUniformLocation(program, name);
    }
    return { program, at };
  }

  // A shape drawn once for each instance: corners of `width` numbers, then the numbers of an instance.
  instanced(corners, width, sizes, faces) {
    const gl = this.gl, array = gl.createVertexArray(), instances = gl.createBuffer();
    gl.bindVertexArray(array);
    this.buffer(gl.ARRAY_BUFFER, corners);
    this.attribute(0, width);
    this.buffer(gl.ELEMENT_ARRAY_BUFFER, faces);
    gl.bindBuffer(gl.ARRAY_BUFFER, instances);
    const stride = sizes.reduce((a, b) => a + b, 0) * 4;
    let offset = 0;
    sizes.forEach((size, place) => {
      this.attribute(place + 1, size, stride, offset);
      gl.vertexAttribDivisor(place + 1, 1);
      offset += size * 4;
    });
    return { array, instances, stride, count: faces.length };
  }

  buffer(target, data) {
    const buffer = this.gl.createBuffer();
    this.gl.bindBuffer(target, buffer);
    this.gl.bufferData(target, data, this.gl.STATIC_DRAW);
    return buffer;
  }

  attribute(place, size, stride = 0, offset = 0) {
    this.gl.enableVertexAttribArray(place);
    this.gl.vertexAttribPointer(place, size, this.gl.FLOAT, false, stride, offset);
  }

  // A mesh on the device; its vertices, or the matrices of its joints, are set for each step.
  surface(given) {
    const gl = this.gl, array = gl.createVertexArray(), made = { given, array, count: given.faces.length, step: -1 };
    gl.bindVertexArray(array);
    made.vertices = this.buffer(gl.ARRAY_BUFFER, given.rest || given.vertices.subarray(0, given.size * 3));
    this.attribute(0, 3);
    made.normals = this.buffer(gl.ARRAY_BUFFER, normalsOf(given.rest || given.vertices.subarray(0, given.size * 3), given.faces));
    this.attribute(1, 3);
    if (given.rest) {
      this.buffer(gl.ARRAY_BUFFER, given.strongest);
      gl.enableVertexAttribArray(2);
      gl.vertexAttribIPointer(2, 4, gl.UNSIGNED_BYTE, 0, 0);
      this.buffer(gl.ARRAY_BUFFER, given.shares);
      gl.enableVertexAttribArray(3);
      gl.vertexAttribPointer(3, 4, gl.UNSIGNED_BYTE, true, 0, 0);
      made.texture = gl.createTexture();
    }
    this.buffer(gl.ELEMENT_ARRAY_BUFFER, given.faces);
    return made;
  }

  setStep(surface, step) {
    const gl = this.gl, given = surface.given, row = given.steps > 1 ? step : 0;
    if (surface.step === row) return;
    surface.step = row;
    if (given.rest) {
      gl.bindTexture(gl.TEXTURE_2D, surface.texture);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, given.numJoints * 3, 1, 0, gl.RGBA, gl.FLOAT, jointRows(given, row));
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
      return;
    }
    const vertices = given.vertices.subarray(row * given.size * 3, (row + 1) * given.size * 3);
    for (const [buffer, values] of [[surface.vertices, vertices], [surface.normals, normalsOf(vertices, given.faces)]]) {
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.bufferData(gl.ARRAY_BUFFER, values, gl.DYNAMIC_DRAW);
    }
  }

  // scene: {capsules, shells: [Float32Array], lines: [{data, width}], surfaces: [{surface, tint}]}
  draw(scene, camera, look) {
    const gl = this.gl, size = [this.canvas.width, this.canvas.height];
    gl.viewport(0, 0, ...size);
    gl.clearColor(...look.stage, 1);
    gl.depthMask(true);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT | gl.STENCIL_BUFFER_BIT);
    this.frame = { view: camera.matrix(size[0] / size[1]), eye: camera.eye(), size, floor: look.floor };
    gl.disable(gl.DEPTH_TEST);
    this.use(this.floor, { centre: look.centre, reach: look.reach, tint: look.grid });
    this.drawn(this.plane, 0);
    this.shadows(scene, look.shadow);
    gl.enable(gl.DEPTH_TEST);
    gl.depthFunc(gl.LEQUAL);
    this.drawCapsules(scene.capsules, {});
    const solid = scene.surfaces.filter((s) => s.tint[3] >= 1), faint = scene.surfaces.filter((s) => s.tint[3] < 1);
    for (const each of solid) this.drawSurface(each, {});
    gl.depthMask(false);
    for (const { data, width } of scene.lines) {
      this.use(this.line, { size, width });
      this.drawn(this.lines, data.length / LINE_FLOATS, data);
    }
    for (const each of faint) this.seenThrough(() => this.drawSurface(each, {}));
    for (const data of scene.shells) this.seenThrough(() => this.drawCapsules(data, { shell: 1 }));
  }

  // The nearest surface only: depths first, then colours.
  seenThrough(draw) {
    const gl = this.gl;
    gl.colorMask(false, false, false, false);
    gl.depthMask(true);
    draw();
    gl.colorMask(true, true, true, true);
    gl.depthMask(false);
    draw();
  }

  // Each pixel of the floor is darkened once.
  shadows(scene, strength) {
    const gl = this.gl;
    if (this.frame.eye[1] < this.frame.floor) return;
    gl.enable(gl.STENCIL_TEST);
    gl.stencilFunc(gl.EQUAL, 0, 255);
    gl.stencilOp(gl.KEEP, gl.KEEP, gl.INCR);
    this.drawCapsules(scene.capsules, { shadow: strength });
    for (const each of scene.surfaces) this.drawSurface(each, { shadow: strength * Math.min(1, each.tint[3] * 1.3) });
    gl.disable(gl.STENCIL_TEST);
  }

  drawCapsules(data, values) {
    if (!data.length) return;
    this.use(this.capsule, { shadow: 0, shell: 0, ...values });
    this.drawn(this.capsules, data.length / CAPSULE_FLOATS, data);
  }

  drawSurface({ surface, tint }, values) {
    const gl = this.gl;
    this.use(this.mesh, { shadow: 0, shell: 0, tint, ...values });
    gl.uniform1i(this.mesh.at.skinned, surface.given.rest ? 1 : 0);
    gl.uniform1i(this.mesh.at.joints, 0);
    gl.bindTexture(gl.TEXTURE_2D, surface.texture || this.blank);
    gl.bindVertexArray(surface.array);
    gl.drawElements(gl.TRIANGLES, surface.count, gl.UNSIGNED_INT, 0);
  }

  use({ program, at }, values) {
    const gl = this.gl;
    gl.useProgram(program);
    const all = { floorHeight: this.frame.floor, eye: this.frame.eye, shadow: 0, ...values };
    if (at.view) gl.uniformMatrix4fv(at.view, false, this.frame.view);
    for (const [name, value] of Object.entries(all)) {
      if (!at[name]) continue;
      if (typeof value === "number") gl.uniform1f(at[name], value);
      else gl[`uniform${value.length}fv`](at[name], value);
    }
  }

  drawn(shape, instances, data) {
    const gl = this.gl;
    gl.bindVertexArray(shape.array);
    if (!data) return gl.drawElements(gl.TRIANGLES, shape.count, gl.UNSIGNED_SHORT, 0);
    gl.bindBuffer(gl.ARRAY_BUFFER, shape.instances);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.DYNAMIC_DRAW);
    gl.drawElementsInstanced(gl.TRIANGLES, shape.count, gl.UNSIGNED_SHORT, 0, instances);
  }
}

// A capsule as two half spheres: corners [direction x y z, end], and triangles.
function capsuleMesh(around, rings) {
  const corners = [], faces = [];
  for (let ring = 0; ring < 2 * rings; ring++) {
    const end = ring < rings ? 0 : 1, step = ring < rings ? ring : ring - 1;
    const angle = (step / (2 * rings - 2) - 0.5) * Math.PI;
    for (let k = 0; k < around; k++) {
      const turn = (k / around) * 2 * Math.PI;
      corners.push(Math.cos(angle) * Math.cos(turn), Math.cos(angle) * Math.sin(turn), Math.sin(angle), end);
      if (ring === 0) continue;
      const next = (k + 1) % around, low = (ring - 1) * around, high = ring * around;
      faces.push(low + k, low + next, high + k, high + k, low + next, high + next);
    }
  }
  return { corners: new Float32Array(corners), faces: new Uint16Array(faces) };
}

// Normals of vertices: means over their triangles, weighted by area.
function normalsOf(v, faces) {
  const out = new Float32Array(v.length);
  for (let f = 0; f < faces.length; f += 3) {
    const [a, b, c] = [faces[f] * 3, faces[f + 1] * 3, faces[f + 2] * 3];
    const ux = v[b] - v[a], uy = v[b + 1] - v[a + 1], uz = v[b + 2] - v[a + 2];
    const wx = v[c] - v[a], wy = v[c + 1] - v[a + 1], wz = v[c + 2] - v[a + 2];
    const nx = uy * wz - uz * wy, ny = uz * wx - ux * wz, nz = ux * wy - uy * wx;
    for (const i of [a, b, c]) {
      out[i] += nx;
      out[i + 1] += ny;
      out[i + 2] += nz;
    }
  }
  return out;
}

// Three rows of four for each joint: the rotation R, and p - R J.
function jointRows(given, row) {
  const count = given.numJoints, out = new Float32Array(count * 12);
  for (let j = 0; j < count; j++) {
    const q = (row * count + j) * 4, p = (row * count + j) * 3;
    let [x, y, z, w] = given.turns.subarray(q, q + 4);
    const size = Math.hypot(x, y, z, w);
    [x, y, z, w] = [x / size, y / size, z / size, w / size];
    const R = [
      [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
      [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
      [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ];
    const rest = [given.joints[j * 3], given.joints[j * 3 + 1], given.joints[j * 3 + 2]];
    R.forEach((line, r) => out.set([...line, given.posed[p + r] - dot(line, rest)], j * 12 + r * 4));
  }
  return out;
}
