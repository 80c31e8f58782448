/** Pictures that people add: from the clipboard, by dropping them, or from a list of their files. */

import { type Controls, count, few } from '../canvas/controls.js';
import type { Place, Rect } from '../canvas/geometry.js';
import { createPictureCard } from '../edits.js';
import { sayError } from '../panel/codes.js';
import { PICTURE_TYPES } from './reading.js';

const SIZE_MAX = { width: 480, height: 400 };
const SIZE_MIN = { width: 96, height: 72 };
const GAP = 24;
const NAME_CHARS_MAX = 200;

/** Side by side, the first of them around a place. Those that cannot be taken are told, and take nothing along. */
export async function addPictures(controls: Controls, pictures: readonly File[], center: Place): Promise<void> {
  const { db, files, scene, notify, say } = controls;
  const [ids, refused]: [string[], string[]] = [[], []];
  let left: number | undefined;
  for (const picture of pictures) {
    const name = picture.name.slice(-NAME_CHARS_MAX) || 'picture';
    try {
      const { id, described } = await files.put(picture);
      const size = sizeFor(described);
      left ??= center.x - size.width / 2;
      const at = { x: Math.round(left), y: Math.round(center.y - size.height / 2), ...size };
      ids.push(createPictureCard(db, { id, described, name }, at));
      left += size.width + GAP;
    } catch (error) {
      refused.push(`“${name}” was not added. ${sayError(error)}`);
    }
  }
  if (ids.length > 0) {
    scene.select(ids);
    say(`Added ${count(ids.length, 'picture')}.`);
  }
  if (refused.length > 0) notify(few(refused).join(' '));
}

/** As large as it is, unless that is more than a part of a screen. */
export function sizeFor({ width, height }: { width: number; height: number }): Pick<Rect, 'width' | 'height'> {
  const by = Math.min(1, SIZE_MAX.width / width, SIZE_MAX.height / height);
  return {
    width: Math.max(SIZE_MIN.width, Math.round(width * by)),
    height: Math.max(SIZE_MIN.height, Math.round(height * by)),
  };
}

/** Asks for pictures among the person's files; on a phone also its camera. */
export function choosePictures(controls: Controls): void {
  const at = controls.place();
  const input = document.createElement('input');
  Object.assign(input, { type: 'file', multiple: true, accept: PICTURE_TYPES.join(), hidden: true });
  input.addEventListener('change', () => {
    input.remove();
    addPictures(controls, [...(input.files ?? [])], at);
  });
  input.addEventListener('cancel', () => input.remove());
  // Some browsers forget what is not in the page while the person chooses.
  document.body.append(input);
  input.click();
}
