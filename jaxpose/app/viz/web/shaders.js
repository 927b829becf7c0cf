// Programs of WebGL 2. What casts a shadow is drawn a second time, pressed onto the floor.

const COMMON = `#version 300 es
precision highp float;
uniform mat4 view;
uniform vec3 eye;
uniform float floorHeight;
uniform float shadow;  // 0, or the opacity of the shadow
vec4 placed(vec3 p) {
  if (shadow > 0.0) p.y = floorHeight + 0.002;
  return view * vec4(p, 1.0);
}`;

export const SHADED = `#version 300 es
precision highp float;
uniform vec3 eye;
uniform float shadow;
uniform float shell;  // 1 for what is seen through: fainter in the middle than at the rim
in vec3 place, normal;
in vec4 colour;
out vec4 pixel;
void main() {
  if (shadow > 0.0) { pixel = vec4(0.0, 0.0, 0.0, shadow); return; }
  vec3 n = normalize(normal), toEye = normalize(eye - place);
  float facing = abs(dot(n, toEye));
  if (shell > 0.5) {
    float rim = 1.0 - facing;
    pixel = vec4(colour.rgb, clamp(colour.a * (0.55 + 1.6 * rim * rim), 0.0, 1.0));
    return;
  }
  vec3 lamp = normalize(vec3(-0.45, 0.8, 0.55));
  float sky = 0.5 + 0.5 * n.y, lit = max(dot(n, lamp), 0.0), from = max(dot(n, toEye), 0.0);
  float shine = pow(max(dot(n, normalize(lamp + toEye)), 0.0), 40.0) * 0.16;
  pixel = vec4(colour.rgb * (0.36 + 0.2 * sky + 0.42 * lit + 0.1 * from) + shine, colour.a);
}`;

// A capsule whose ends are ellipsoids p + L u: a corner is a direction u on the unit sphere and an end, 0 or 1.
export const CAPSULE = `${COMMON}
layout(location = 0) in vec4 corner;
layout(location = 1) in vec3 a;
layout(location = 2) in vec3 b;
layout(location = 3) in vec3 diagonalA;
layout(location = 4) in vec3 othersA;
layout(location = 5) in vec3 diagonalB;
layout(location = 6) in vec3 othersB;
layout(location = 7) in vec4 colourA;
layout(location = 8) in vec4 colourB;
out vec3 place, normal;
out vec4 colour;
mat3 symmetric(vec3 d, vec3 o) { return mat3(d.x, o.x, o.y, o.x, d.y, o.z, o.y, o.z, d.z); }
void main() {
  vec3 along = b - a;
  float size = length(along);
  vec3 axis = size > 1e-5 ? along / size : vec3(0.0, 1.0, 0.0);
  vec3 side = normalize(cross(axis, abs(axis.y) < 0.9 ? vec3(0.0, 1.0, 0.0) : vec3(1.0, 0.0, 0.0)));
  vec3 u = side * corner.x + cross(axis, side) * corner.y + axis * corner.z;
  mat3 L = symmetric(mix(diagonalA, diagonalB, corner.w), mix(othersA, othersB, corner.w)) + mat3(1e-4);
  place = mix(a, b, corner.w) + L * u;
  normal = inverse(L) * u;
  colour = mix(colourA, colourB, corner.w);
  gl_Position = placed(place);
}`;

// A line of constant width in pixels; a corner is a side, -1 or 1, and an end.
export const LINE = `${COMMON}
layout(location = 0) in vec2 corner;
layout(location = 1) in vec3 a;
layout(location = 2) in vec3 b;
layout(location = 3) in vec4 colourA;
layout(location = 4) in vec4 colourB;
uniform vec2 size;
uniform float width;
out vec4 colour;
out float across;
void main() {
  vec4 from = placed(a), to = placed(b), here = mix(from, to, corner.y);
  vec2 along = (to.xy / to.w - from.xy / from.w) * size;
  vec2 aside = length(along) > 1e-4 ? normalize(vec2(-along.y, along.x)) : vec2(0.0, 1.0);
  here.xy += aside * corner.x * (width + 1.0) / size * here.w;
  across = corner.x * (width + 1.0);
  colour = mix(colourA, colourB, corner.y);
  gl_Position = here;
}`;
export const LINE_PIXEL = `#version 300 es
precision highp float;
uniform float width;
uniform float shadow;
in vec4 colour;
in float across;
out vec4 pixel;
void main() {
  float cover = clamp(width + 0.5 - abs(across), 0.0, 1.0);
  pixel = shadow > 0.0 ? vec4(0.0, 0.0, 0.0, shadow * cover) : vec4(colour.rgb, colour.a * cover);
}`;

// A mesh: as it is, or a skin whose joints' matrices (three rows of four) are texels.
export const MESH = `${COMMON}
layout(location = 0) in vec3 vertex;
layout(location = 1) in vec3 direction;
layout(location = 2) in uvec4 strongest;
layout(location = 3) in vec4 shares;
uniform sampler2D joints;
uniform bool skinned;
uniform vec4 tint;
out vec3 place, normal;
out vec4 colour;
mat4 joint(uint j) {
  int at = int(j) * 3;
  return transpose(mat4(texelFetch(joints, ivec2(at, 0), 0), texelFetch(joints, ivec2(at + 1, 0), 0),
    texelFetch(joints, ivec2(at + 2, 0), 0), vec4(0.0, 0.0, 0.0, 1.0)));
}
void main() {
  place = vertex;
  normal = direction;
  if (skinned) {
    mat4 M = joint(strongest.x) * shares.x + joint(strongest.y) * shares.y + joint(strongest.z) * shares.z + joint(strongest.w) * shares.w;
    place = (M * vec4(vertex, 1.0)).xyz;
    normal = mat3(M) * direction;
  }
  colour = tint;
  gl_Position = placed(place);
}`;

export const FLOOR = `${COMMON}
layout(location = 0) in vec2 corner;
uniform vec3 centre;
uniform float reach;
out vec3 place;
void main() {
  place = vec3(centre.x + corner.x * reach, floorHeight, centre.z + corner.y * reach);
  gl_Position = view * vec4(place, 1.0);
}`;
export const FLOOR_PIXEL = `#version 300 es
precision highp float;
uniform vec3 centre;
uniform float reach;
uniform vec4 tint;
in vec3 place;
out vec4 pixel;
float lines(vec2 at, float step) {
  vec2 w = fwidth(at / step), d = abs(fract(at / step - 0.5) - 0.5) / max(w, 1e-6);
  float fade = clamp(1.5 - 2.0 * max(w.x, w.y), 0.0, 1.0);
  return (1.0 - clamp(min(d.x, d.y), 0.0, 1.0)) * fade;
}
void main() {
  float away = length(place.xz - centre.xz) / reach, fade = 1.0 - smoothstep(0.45, 1.0, away);
  float line = max(0.5 * lines(place.xz, 0.5), lines(place.xz, 2.5));
  pixel = vec4(tint.rgb, fade * (0.1 + tint.a * line));
}`;
