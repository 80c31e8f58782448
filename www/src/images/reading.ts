/** Which files are pictures, and what is read of them. */

import { DriftlineError } from 'driftline';

/** What every browser draws, and nothing else does in a page. */
export const PICTURE_TYPES = ['image/png', 'image/jpeg', 'image/gif', 'image/webp', 'image/avif'];

/** A little less than what a server takes, so that it can be told in round numbers. */
export const FILE_BYTES_MAX = 32_000_000;

const refusal = (code: string) => new DriftlineError({ code, detail: '' });

/** Whether a file says that it is a picture, of whatever kind. */
export const isPicture = ({ type }: Blob) => type.startsWith('image/');

/** Its size in pixels, as it is shown. Refuses what is no picture, or is none for some browsers, or is too large. */
export async function sizeOf(file: Blob): Promise<{ width: number; height: number }> {
  if (!PICTURE_TYPES.includes(file.type)) throw refusal('not_a_picture');
  if (file.size > FILE_BYTES_MAX) throw refusal('blob_too_large');
  const bitmap = await createImageBitmap(file).catch(() => {
    throw refusal('picture_damaged');
  });
  const { width, height } = bitmap;
  bitmap.close();
  return { width, height };
}

const DATA_URL = /^data:(image\/[a-z0-9.+-]+);base64,/i;

/** The picture that an address holds in itself; `undefined` of any other address. Refuses one that is too large before it is read. */
export function pictureIn(address: string): Blob | undefined {
  const [start, type] = DATA_URL.exec(address) ?? [];
  if (!start || !type) return undefined;
  // Three bytes are written in four characters.
  if ((address.length - start.length) * 0.75 > FILE_BYTES_MAX + 3) throw refusal('blob_too_large');
  try {
    const bytes = Uint8Array.from(atob(address.slice(start.length)), (char) => char.charCodeAt(0));
    return new Blob([bytes], { type: type.toLowerCase() });
  } catch {
    return undefined;
  }
}
