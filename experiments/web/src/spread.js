// The 90 % ellipsoid of each joint, as `spread_of` of jaxpose/app/viz/scenes.py makes it for pages.

const TINY = 1e-9; // square metres: thinner than a tenth of a millimetre is exact
const PAIRS = [[0, 0], [1, 1], [2, 2], [0, 1], [0, 2], [1, 2]];

/**
 * {shape [J * 6] metres (xx, yy, zz, xy, xz, yz of L), inner [J]} of samples [H * J * 3] with their covariance [J * 9]:
 * the joint is within mean + L u, |u| <= 1, with 90 %, and within inner times that with 50 %.
 */
export function spread(samples, covariance) {
  const joints = covariance.length / 9, num = samples.length / (3 * joints);
  const shape = new Float32Array(6 * joints), inner = new Float32Array(joints);
  for (let j = 0; j < joints; j++) {
    const points = Array.from({length: num}, (_, h) => samples.subarray(3 * (h * joints + j), 3 * (h * joints + j) + 3));
    const mean = [0, 1, 2].map(d => points.reduce((sum, p) => sum + p[d], 0) / num);
    const away = points.map(p => mean.map((m, d) => p[d] - m));
    const own = axes((r, c) => away.reduce((sum, a) => sum + a[r] * a[c], 0) / num);
    const distances = away.map(a => Math.hypot(...own.map(({size, axis}) => axis.reduce((sum, v, d) => sum + v * a[d], 0) / Math.sqrt(size)))).sort((a, b) => a - b);
    const [half, most] = [0.5, 0.9].map(share => quantile(distances, share));
    const given = axes((r, c) => covariance[9 * j + 3 * r + c]);
    PAIRS.forEach(([r, c], n) => (shape[6 * j + n] = most * given.reduce((sum, {size, axis}) => sum + Math.sqrt(size) * axis[r] * axis[c], 0)));
    inner[j] = half / Math.max(most, 1e-6);
  }
  return {shape, inner};
}

/** Of sorted values, linear between them. */
function quantile(values, share) {
  const at = share * (values.length - 1), low = Math.floor(at);
  return values[low] + (at - low) * (values[Math.min(low + 1, values.length - 1)] - values[low]);
}

/** Eigenvalues (sizes) and unit eigenvectors (axes) of a symmetric matrix [3, 3], by Jacobi's rotations; those of 0 are left out. */
function axes(entry) {
  const a = [0, 1, 2].map(r => [0, 1, 2].map(c => entry(r, c))), v = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];
  for (let turn = 0; turn < 24; turn++) {
    const p = turn % 3 === 2 ? 1 : 0, q = turn % 3 === 0 ? 1 : 2;
    if (Math.abs(a[p][q]) < 1e-18) continue;
    const theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
    const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.hypot(theta, 1)), c = 1 / Math.hypot(t, 1), s = t * c;
    for (const m of [a, v]) for (const row of m) [row[p], row[q]] = [c * row[p] - s * row[q], s * row[p] + c * row[q]];
    [a[p], a[q]] = [a[p].map((x, k) => c * x - s * a[q][k]), a[p].map((x, k) => s * x + c * a[q][k])];
  }
  return [0, 1, 2].map(k => ({size: a[k][k], axis: v.map(row => row[k])})).filter(({size}) => size > TINY);
}
