/** The pictures that a file or the clipboard brings along, put here before the cards that show them are made. */

import { DriftlineError, listSpaces } from 'driftline';
import { openBlobs } from 'driftline/blobs';
import { type Imported, isObject } from '../json-canvas.js';
import { sayError } from '../panel/codes.js';
import { userOf } from '../share/pass.js';
import { type Database, openSpace, optionsOf } from '../space.js';
import { ownerOf } from '../spaces/use-spaces.js';
import { keep, kept } from '../states/kept.js';
import { describedIn, knownPictures, withKnown } from './described.js';
import type { Files } from './files.js';
import { pictureIn } from './reading.js';

/** A drawing with more than this is no drawing any more. */
const PICTURES_MAX = 200;
const COPIED_FROM = 'copied-from';

/** Says from which space the clipboard comes: another one has other files. The clipboard itself says it to nobody. */
export function noteCopied({ space }: Files): void {
  keep(COPIED_FROM, space);
}

/** The cards with their pictures. A picture that is not to be had is told, and its card goes without it. */
export async function bringPictures(db: Database, files: Files, imported: Imported): Promise<Imported> {
  const elsewhere = new Elsewhere(kept<string>(COPIED_FROM), files.space);
  const known = knownPictures(db);
  const missing = new Map<string, number>();
  const cards: Imported['cards'] = [];
  let brought = 0;
  for (const card of imported.cards) {
    try {
      const source = sourceOf(card, imported, known, elsewhere);
      const file = source && brought < PICTURES_MAX ? await source() : undefined;
      if (source && !file) throw new DriftlineError({ code: 'picture_missing', detail: '' });
      if (file) brought += 1;
      cards.push(file ? await withPut(files, card, file, known) : withKnown(card, known));
    } catch (error) {
      cards.push(card);
      missing.set(sayError(error), (missing.get(sayError(error)) ?? 0) + 1);
    }
  }
  await elsewhere.close();
  const told = [...missing].map(([why, count]) => `Left out: ${count} images. ${why}`);
  return { ...imported, cards, left_out: [...imported.left_out, ...told] };
}

type NewCard = Imported['cards'][number];

async function withPut(files: Files, card: NewCard, file: Blob, known: Map<string, string>): Promise<NewCard> {
  const { id, described } = await files.put(file);
  known.set(described.hash, id);
  return { ...card, image: id, extra: { ...(isObject(card.extra) && card.extra), image: { ...described } } };
}

/** Where the bytes of a card's picture may be; `undefined` where it has none, or this space has it. */
function sourceOf(card: NewCard, { pictures }: Imported, known: ReadonlyMap<string, string>, elsewhere: Elsewhere) {
  const address = pictures.get(card.id ?? '');
  if (address !== undefined) return async () => pictureIn(address);
  const hash = describedIn(card.extra)?.hash;
  return hash && !known.has(hash) ? () => elsewhere.read(hash) : undefined;
}

/** The files of the space that was copied from. It is opened once, if this device holds it. */
class Elsewhere {
  readonly #space: string | undefined;
  #opening: ReturnType<typeof openBoth> | undefined;

  constructor(copiedFrom: string | undefined, here: string) {
    this.#space = copiedFrom === here ? undefined : copiedFrom;
  }

  async read(hash: string): Promise<Blob | undefined> {
    if (this.#space === undefined) return undefined;
    this.#opening ??= openBoth(this.#space);
    const blobs = (await this.#opening)?.blobs;
    const url = await blobs?.url(hash).catch(() => undefined);
    return url ? await (await fetch(url)).blob() : undefined;
  }

  async close(): Promise<void> {
    const both = await this.#opening?.catch(() => undefined);
    both?.blobs.close();
    await both?.db.close();
  }
}

async function openBoth(space: string) {
  const spaces = await listSpaces(ownerOf(userOf(space)));
  if (!spaces.some(({ name }) => name === space)) return undefined;
  const db = await openSpace(space);
  try {
    return { db, blobs: await openBlobs(db, optionsOf(space)) };
  } catch (error) {
    await db.close();
    throw error;
  }
}
