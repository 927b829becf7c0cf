// Turned squares of an image, which networks see as crops: jaxpose/app/detect/people.py in JavaScript.
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
 * The region as [size, size, 3] numbers scale * value + shift of whole values 0 to 255, written to `out`: bilinear in steps of
 * 1/32 pixel and rounded, as the networks saw pictures. Outside the image are its border pixels (extend) or zeros.
 */
export function crop({data, width, height}, region, size, {extend, scale, shift}, out) {
  const [x0, y0] = toImage(region, 0, 0), right = width - 1, bottom = height - 1;
  const along = (32 * region.side * Math.cos(region.angle)) / size, across = (32 * region.side * Math.sin(region.angle)) / size;
  const within = (value, most) => (value < 0 ? 0 : value > most ? most : value);
  for (let i = 0, k = 0; i < size; i++) {
    for (let j = 0; j < size; j++, k += 3) {
      const x = Math.round(32 * x0 + along * j - across * i), y = Math.round(32 * y0 + across * j + along * i);
      const u = (x & 31) / 32, v = (y & 31) / 32;
      let x1 = x >> 5, y1 = y >> 5, x2 = x1 + 1, y2 = y1 + 1;
      // weights of the four pixels around: 1 left and above, 2 right and below
      let w11 = (1 - u) * (1 - v), w21 = u * (1 - v), w12 = (1 - u) * v, w22 = u * v;
      if (x1 < 0 || y1 < 0 || x2 > right || y2 > bottom) {
        if (!extend) {
          if (x1 < 0 || x1 > right) w11 = w12 = 0;
          if (x2 < 0 || x2 > right) w21 = w22 = 0;
          if (y1 < 0 || y1 > bottom) w11 = w21 = 0;
          if (y2 < 0 || y2 > bottom) w12 = w22 = 0;
        }
        [x1, x2, y1, y2] = [within(x1, right), within(x2, right), within(y1, bottom), within(y2, bottom)];
      }
      const a = 4 * (y1 * width + x1), b = 4 * (y1 * width + x2), c = 4 * (y2 * width + x1), d = 4 * (y2 * width + x2);
      for (let n = 0; n < 3; n++) {
        const value = w11 * data[a + n] + w21 * data[b + n] + w12 * data[c + n] + w22 * data[d + n];
        out[k + n] = shift + scale * Math.floor(value + 0.5);
      }
    }
  }
  return out;
}
