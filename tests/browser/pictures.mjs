// Pictures that tests make themselves: PNG files, pixel by pixel.

import { randomFillSync } from 'node:crypto';
import { crc32, deflateSync } from 'node:zlib';

/** A PNG whose pixels are what `paint(x, y)` says: red, green and blue. */
export function png(width, height, paint) {
  const lines = Buffer.alloc((width * 3 + 1) * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) lines.set(paint(x, y), y * (width * 3 + 1) + 1 + x * 3);
  }
  return encode(width, height, lines);
}

/** A PNG that no compression makes smaller: about three bytes a pixel. */
export function noise(width, height) {
  const lines = randomFillSync(Buffer.alloc((width * 3 + 1) * height));
  // Each line begins with its filter, which is none.
  for (let y = 0; y < height; y++) lines[y * (width * 3 + 1)] = 0;
  return encode(width, height, lines);
}

/** A bay in the evening. */
export function bay(width, height) {
  return png(width, height, (x, y) => {
    const [u, v] = [x / width, y / height];
    const isSun = Math.hypot((u - 0.68) * width, (v - 0.4) * height) < height * 0.11;
    const hill = 0.56 - 0.12 * Math.sin(u * 5 + 0.6) - 0.04 * Math.sin(u * 17);
    if (v > 0.66) return [28 + 90 * (1 - v), 74 + 60 * (1 - v), 118 + 20 * Math.sin(v * 160 + u * 9)];
    if (v > hill) return [38, 62 + 30 * u, 78];
    return isSun ? [255, 232, 170] : [250 - 70 * (0.6 - v), 150 + 120 * (0.5 - v), 110 + 190 * (0.6 - v)];
  });
}

function encode(width, height, lines) {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([signature, chunk('IHDR', header), chunk('IDAT', deflateSync(lines)), chunk('IEND')]);
}

function chunk(name, data = Buffer.alloc(0)) {
  const body = Buffer.concat([Buffer.from(name), data]);
  const around = Buffer.alloc(8);
  around.writeUInt32BE(data.length, 0);
  around.writeUInt32BE(crc32(body), 4);
  return Buffer.concat([around.subarray(0, 4), body, around.subarray(4)]);
}
