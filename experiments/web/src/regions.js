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
  const {data, width, height} = image, right = width - 1, bottom = height - 1;
  const [x0, y0] = toImage(region, 0, 0);
  const c = (region.side / size) * Math.cos(region.angle), s = (region.side / size) * Math.sin(region.angle);
  for (let i = 0, k = 0; i < size; i++) {
    for (let j = 0; j < size; j++, k += 3) {
      let x = x0 + c * j - s * i, y = y0 + s * j + c * i;
      if (extend) {
        x = x < 0 ? 0 : x > right ? right : x;
        y = y < 0 ? 0 : y > bottom ? bottom : y;
      }
      let x1 = Math.floor(x), y1 = Math.floor(y), x2 = x1 + 1, y2 = y1 + 1;
      // scale times the weights of the four pixels around: 1 left and above, 2 right and below
      let w11 = scale * (x2 - x) * (y2 - y), w21 = scale * (x - x1) * (y2 - y);
      let w12 = scale * (x2 - x) * (y - y1), w22 = scale * (x - x1) * (y - y1);
      if (x1 < 0 || y1 < 0 || x2 > right || y2 > bottom) {
        if (x1 < 0 || x1 > right) w11 = w12 = 0;
        if (x2 < 0 || x2 > right) w21 = w22 = 0;
        if (y1 < 0 || y1 > bottom) w11 = w21 = 0;
        if (y2 < 0 || y2 > bottom) w12 = w22 = 0;
        x1 = Math.min(Math.max(x1, 0), right);
        x2 = Math.min(Math.max(x2, 0), right);
        y1 = Math.min(Math.max(y1, 0), bottom);
        y2 = Math.min(Math.max(y2, 0), bottom);
      }
      const a = 4 * (y1 * width + x1), b = 4 * (y1 * width + x2), d = 4 * (y2 * width + x1), e = 4 * (y2 * width + x2);
      out[k] = shift + w11 * data[a] + w21 * data[b] + w12 * data[d] + w22 * data[e];
      out[k + 1] = shift + w11 * data[a + 1] + w21 * data[b + 1] + w12 * data[d + 1] + w22 * data[e + 1];
      out[k + 2] = shift + w11 * data[a + 2] + w21 * data[b + 2] + w12 * data[d + 2] + w22 * data[e + 2];
    }
  }
  return out;
}
