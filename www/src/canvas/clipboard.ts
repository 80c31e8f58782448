/** The system's clipboard holds JSON Canvas as text, so that it goes between canvases, tabs and other programs. */

import * as edits from '../edits.js';
import { readClipboard } from '../formats.js';
import { bringPictures, noteCopied } from '../images/bring.js';
import { sayError } from '../panel/codes.js';
import { copyText, paste } from '../transfer.js';
import { type Controls, count, few, selectedItems } from './controls.js';
import type { Place } from './geometry.js';
import { GRID } from './snap.js';
import { focusedItem, giveFocus } from './use-focus.js';
import { nextWithout } from './walk.js';

/** The items that are selected, as text; undefined where none is. */
export function copied(controls: Controls): string | undefined {
  const items = selectedItems(controls);
  if (items.length === 0) return undefined;
  noteCopied(controls.files);
  controls.say(`Copied ${count(items.length, 'item')}.`);
  return copyText(controls.db, new Set(items));
}

/** What is selected, or was when it was asked for. */
export function removeSelection(controls: Controls, ids = controls.scene.selection): void {
  const { db } = controls;
  const items = edits.itemsOf(db, ids).map(({ id }) => id);
  const connections = [...ids].filter((id) => db.tables.connection.get(id));
  const next = nextWithout(db, ids);
  const focused = focusedItem();
  edits.remove(db, items, connections);
  if (focused === undefined || ids.has(focused)) giveFocus(next);
  controls.say(`Deleted ${count(items.length + connections.length, 'item')}.`);
}

let last = { text: '', at: { x: Number.NaN, y: 0 }, times: 0 };

/** The same thing pasted at the same place again lies a step further, so that it does not hide what is there. */
function beside(text: string, at: Place): Place {
  const isAgain = last.text === text && last.at.x === at.x && last.at.y === at.y;
  last = { text, at, times: isAgain ? last.times + 1 : 0 };
  return { x: at.x + last.times * GRID, y: at.y + last.times * GRID };
}

const ADDRESS = /^https?:\/\/\S+$/i;

/** A canvas becomes what it holds; a web address becomes a link, and any other text a card. */
export async function pasteText({ db, files, scene, say, notify }: Controls, text: string, place: Place) {
  const words = text.trim();
  if (!words) return;
  const at = beside(text, place);
  const kind = ADDRESS.test(words) ? 'link' : 'text';
  try {
    const read = readClipboard(text);
    const imported = read && (await bringPictures(db, files, read));
    const ids = imported ? paste(db, imported, at) : [edits.createCard(db, kind, at, words)];
    scene.select(ids);
    const leftOut = imported?.left_out ?? [];
    say([`Pasted ${count(ids.length, 'item')}.`, ...leftOut].join(' '));
    if (leftOut.length > 0) notify(few(leftOut).join(' '));
  } catch (error) {
    notify(sayError(error));
  }
}
