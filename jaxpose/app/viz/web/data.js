// The arrays of a page as page.py wrote them.

const MISSING = -32768;
export const UNKNOWN = 65535; // millimetres

// What a page shows: its description with the arrays that it names, read from `packed`, all arrays as one text.
export async function read(content, packed) {
  const bytes = await unpack(packed), { flat } = content;
  return {
    ...content,
    layers: (content.layers || []).map((layer) => readLayer(bytes, layer)),
    flat: flat && {
      ...flat,
      layers: flat.layers.map((layer) => readLayer(bytes, layer)),
      film: flat.film?.map((file) => file && new Blob([bytes.subarray(file.at, file.at + file.shape[0])], { type: "image/jpeg" })),
    },
    surfaces: (content.surfaces || []).map((surface) => readSurface(bytes, surface)),
    skeletons: (content.skeletons || []).map(readSkeleton),
    uncertainty: readUncertainty(bytes, content.uncertainty),
    marks: readMarks(bytes, content.marks),
  };
}

async function unpack(packed) {
  const text = atob(packed);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function sizeOf(shape) {
  return shape.reduce((product, length) => product * length, 1);
}

// Integers: bytes of one significance lie together; along `time` they are differences, modulo their range.
function integers(bytes, array) {
  const count = sizeOf(array.shape), width = array.bytes;
  const joined = new Uint8Array(count * width);
  for (let b = 0; b < width; b++) {
    const plane = array.at + b * count;
    for (let i = 0; i < count; i++) joined[i * width + b] = bytes[plane + i];
  }
  const kinds = array.signed ? { 1: Int8Array, 2: Int16Array, 4: Int32Array } : { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array };
  const values = new kinds[width](joined.buffer);
  if (array.time !== undefined) {
    const steps = array.shape[array.time], inner = sizeOf(array.shape.slice(array.time + 1));
    const outer = count / (steps * inner);
    for (let o = 0; o < outer; o++)
      for (let i = inner; i < steps * inner; i++) values[o * steps * inner + i] += values[o * steps * inner + i - inner];
  }
  return values;
}

// Positions as floats, NaN where there is a gap.
function positions(bytes, array) {
  const whole = integers(bytes, array), width = array.middle.length;
  const values = new Float32Array(whole.length);
  for (let i = 0; i < whole.length; i++)
    values[i] = whole[i] === MISSING ? NaN : array.middle[i % width] + array.step * whole[i];
  return { values, shape: array.shape };
}

// lines: pairs of joints, those of the tree where none are given.
function readSkeleton(given) {
  const tree = given.parents.map((parent, joint) => [parent, joint]).filter(([parent]) => parent >= 0);
  return { ...given, lines: given.lines || tree };
}

// A layer with its arrays; `at(l, f)` is where pose l of step f begins, in joints.
function readLayer(bytes, layer) {
  const poses = positions(bytes, layer.poses);
  const [count, steps, joints] = poses.shape;
  const read = { ...layer, poses: poses.values, count, steps, joints };
  read.at = (l, f) => (l * steps + (steps > 1 ? f : 0)) * joints;
  if (layer.bones) {
    const [lead, rows] = layer.bones.shape, bones = integers(bytes, layer.bones);
    read.hasBone = (l, f, j) => bones[((lead > 1 ? l : 0) * rows + (rows > 1 ? f : 0)) * joints + j];
  }
  if (layer.strength) {
    const [lead, rows] = layer.strength.shape, strength = (read.strength = integers(bytes, layer.strength));
    read.strengthOf = (l, f, j) => strength[((lead > 1 ? l : 0) * rows + (rows > 1 ? f : 0)) * joints + j] / 255;
  }
  return read;
}

// The spread of each joint: mean, shape and radius [P, F, J] (scenes.py).
function readUncertainty(bytes, given) {
  if (!given) return null;
  const mean = positions(bytes, given.mean), [people, steps, joints] = mean.shape;
  const radius = integers(bytes, given.radius_mm), inner = integers(bytes, given.inner);
  const at = (p, f, j) => (p * steps + f) * joints + j;
  return {
    people, steps, joints, mean: mean.values, shape: positions(bytes, given.shape).values, inner, mm: radius, at,
    radius: (p, f, j) => (radius[at(p, f, j)] === UNKNOWN ? NaN : radius[at(p, f, j)]),
  };
}

function readMarks(bytes, given) {
  const marks = { missing: () => false, unusual: () => false, any: given || {} };
  if (given?.missing) {
    const [, steps, joints] = given.missing.shape, missing = integers(bytes, given.missing);
    marks.missing = (p, f, j) => missing[(p * steps + f) * joints + j] > 0;
  }
  if (given?.unusual) {
    const [, steps] = given.unusual.shape, unusual = integers(bytes, given.unusual);
    marks.unusual = (p, f) => unusual[p * steps + f] > 0;
  }
  return marks;
}

function readSurface(bytes, surface) {
  const read = { ...surface, faces: integers(bytes, surface.faces) };
  if (surface.vertices) {
    const vertices = positions(bytes, surface.vertices);
    read.steps = vertices.shape[0];
    read.size = vertices.shape[1];
    read.vertices = vertices.values;
  } else {
    const posed = positions(bytes, surface.posed);
    read.steps = posed.shape[0];
    read.numJoints = posed.shape[1];
    read.posed = posed.values;
    for (const name of ["rest", "joints", "turns"]) read[name] = positions(bytes, surface[name]).values;
    for (const name of ["strongest", "shares"]) read[name] = integers(bytes, surface[name]);
    read.size = read.rest.length / 3;
  }
  // a person who is not in a step has no joints there
  read.absent = (step) => Boolean(read.posed) && Number.isNaN(read.posed[(read.steps > 1 ? step : 0) * read.numJoints * 3]);
  return read;
}
