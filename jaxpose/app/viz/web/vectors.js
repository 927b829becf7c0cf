// Vectors as [x, y, z], matrices of 4 x 4 as 16 numbers, column after column.

export const add = (a, b) => [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
export const minus = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
export const times = (a, s) => [a[0] * s, a[1] * s, a[2] * s];
export const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
export const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
export const length = (a) => Math.hypot(a[0], a[1], a[2]);
export const unit = (a) => times(a, 1 / (length(a) || 1));
export const mix = (a, b, t) => a.map((x, i) => x + t * (b[i] - x));

function multiplied(a, b) {
  const out = new Float32Array(16);
  for (let c = 0; c < 4; c++)
    for (let r = 0; r < 4; r++) for (let k = 0; k < 4; k++) out[c * 4 + r] += a[k * 4 + r] * b[c * 4 + k];
  return out;
}

// shift: by how much of half the width the middle lies to the left.
function perspective(fieldOfView, aspect, near, far, shift) {
  const f = 1 / Math.tan(fieldOfView / 2), out = new Float32Array(16);
  out[0] = f / aspect;
  out[5] = f;
  out[8] = shift;
  out[10] = (far + near) / (near - far);
  out[11] = -1;
  out[14] = (2 * far * near) / (near - far);
  return out;
}

export function looking(eye, target, up) {
  const back = unit(minus(eye, target)), right = unit(cross(up, back)), over = cross(back, right);
  const out = new Float32Array(16);
  [right, over, back].forEach((axis, row) => {
    for (let c = 0; c < 3; c++) out[c * 4 + row] = axis[c];
    out[12 + row] = -dot(axis, eye);
  });
  out[15] = 1;
  return out;
}

// Pixels [x, y] and depth of a point, or null behind the viewer.
export function projected(matrix, p, size) {
  const w = matrix[3] * p[0] + matrix[7] * p[1] + matrix[11] * p[2] + matrix[15];
  if (!(w > 0)) return null;
  const at = (row) => (matrix[row] * p[0] + matrix[4 + row] * p[1] + matrix[8 + row] * p[2] + matrix[12 + row]) / w;
  return [((at(0) + 1) / 2) * size[0], ((1 - at(1)) / 2) * size[1], w];
}

// The viewer's place: yaw and pitch about a target, and the distance from it.
const FIELD_OF_VIEW = 0.55;
const VIEWS = { front: [0, 0.06], side: [-Math.PI / 2, 0.06], top: [0, Math.PI / 2 - 0.001] };

export class Orbit {
  // start: yaw and pitch of the first view.
  constructor(box, start = [0.45, 0.22]) {
    this.box = box;
    this.views = { ...VIEWS, start };
    this.look("start", 1.5, 1);
  }

  // The least distance at which every corner of the box is inside.
  fit(aspect, share = 1) {
    this.shift = 1 - share;
    const back = this.back(), right = unit(cross([0, 1, 0], back)), over = cross(back, right);
    const high = Math.tan(FIELD_OF_VIEW / 2) * 0.88, wide = high * aspect * share;
    this.distance = 1;
    for (let corner = 0; corner < 8; corner++) {
      const p = minus([0, 1, 2].map((i) => (corner & (1 << i) ? this.box.high : this.box.low)[i]), this.target);
      const away = Math.max(Math.abs(dot(p, right)) / wide, Math.abs(dot(p, over)) / high);
      this.distance = Math.max(this.distance, dot(p, back) + away);
    }
  }

  // The whole box in sight of a picture of this aspect, of whose width the left `share` is free.
  look(name, aspect, share) {
    [this.yaw, this.pitch] = this.views[name];
    this.target = mix(this.box.low, this.box.high, 0.5);
    this.fit(aspect, share);
  }

  place() {
    return { yaw: this.yaw, pitch: this.pitch, distance: this.distance, target: this.target };
  }

  turn(dx, dy) {
    this.yaw -= dx;
    this.pitch = Math.max(-0.2, Math.min(Math.PI / 2 - 0.001, this.pitch + dy));
  }

  zoom(factor) {
    this.distance = Math.max(0.2, Math.min(200, this.distance * factor));
  }

  // Pans by shares of the picture's height.
  pan(dx, dy) {
    const scale = 2 * this.distance * Math.tan(FIELD_OF_VIEW / 2), back = this.back();
    const right = unit(cross([0, 1, 0], back)), over = cross(back, right);
    this.target = add(this.target, add(times(right, -dx * scale), times(over, dy * scale)));
  }

  // A point moved with the pointer, by shares of the picture's height: in the plane of the picture, or nearer and away.
  carried(p, dx, dy, deep) {
    const back = this.back(), right = unit(cross([0, 1, 0], back)), over = cross(back, right);
    const scale = 2 * dot(minus(this.eye(), p), back) * Math.tan(FIELD_OF_VIEW / 2);
    return add(p, deep ? times(back, dy * scale) : add(times(right, dx * scale), times(over, -dy * scale)));
  }

  back() {
    const level = Math.cos(this.pitch);
    return [Math.sin(this.yaw) * level, Math.sin(this.pitch), Math.cos(this.yaw) * level];
  }

  eye() {
    return add(this.target, times(this.back(), this.distance));
  }

  matrix(aspect) {
    const view = looking(this.eye(), this.target, [0, 1, 0]);
    return multiplied(perspective(FIELD_OF_VIEW, aspect, this.distance * 0.03 + 0.02, this.distance * 8 + 60, this.shift), view);
  }
}
