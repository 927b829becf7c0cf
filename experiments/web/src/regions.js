// Turned squares of an image, which networks see as crops: jaxpose/detect/regions.py in JavaScript.
//
//     image = centre + side R(angle) (crop - 1/2)        crop in [0, 1]^2, x right, y down
//
// A region is {x, y, side, angle}: centre and side in pixels, angle in radians from the image's x axis towards its y axis.
// An image is an ImageData: {data, width, height}, RGBA.

/** The square about an image, as wide as its longer side. */
export function whole({width, height}) {
  return {x: width / 2, y: height / 2, side: Math.max(width, height), angle: 0};
}

/** Pixels [x, y] of a point that is given in shares of the region's side. */
export function toImage({x, y, side, angle}, u, v) {
  const c = Math.cos(angle), s = Math.sin(angle);
  return [x + side * (c * (u - 0.5) - s * (v - 0.5)), y + side * (s * (u - 0.5) + c * (v - 0.5))];
}

/**
 * The region as [size, size, 3] numbers scale * value + shift of values 0 to 255, bilinear, written to `out`.
 * Outside the image are its border pixels (extend) or zeros.
 */
export function crop(image, region, size, {extend, scale, shift}, out) {
  const {data, width, height} = image;
  const [x0, y0] = toImage(region, 0, 0);
  const c = (region.side / size) * Math.cos(region.angle), s = (region.side / size) * Math.sin(region.angle);
  const limit = (value, most) => (value < 0 ? 0 : value > most ? most : value);
  for (let i = 0, k = 0; i < size; i++) {
    for (let j = 0; j < size; j++, k += 3) {
      let x = x0 + c * j - s * i, y = y0 + s * j + c * i;
      if (extend) {
        x = limit(x, width - 1);
        y = limit(y, height - 1);
      }
      const left = Math.floor(x), top = Math.floor(y), right = x - left, low = y - top;
      const inside = (column, row) => (column >= 0 && column < width && row >= 0 && row < height ? 1 : 0);
      const a = (1 - right) * (1 - low) * inside(left, top), b = right * (1 - low) * inside(left + 1, top);
      const d = (1 - right) * low * inside(left, top + 1), e = right * low * inside(left + 1, top + 1);
      const column = limit(left, width - 1), next = limit(left + 1, width - 1);
      const row = limit(top, height - 1) * width, below = limit(top + 1, height - 1) * width;
      const p = 4 * (row + column), q = 4 * (row + next), r = 4 * (below + column), t = 4 * (below + next);
      for (let n = 0; n < 3; n++) {
        out[k + n] = shift + scale * (a * data[p + n] + b * data[q + n] + d * data[r + n] + e * data[t + n]);
      }
    }
  }
  return out;
}
