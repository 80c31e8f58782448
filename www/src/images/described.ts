/** What a card says of its picture. It says it itself, because the row of a file is there only once the server has the file. */

import type { Json } from 'driftline';
import { type Imported, isObject } from '../json-canvas.js';
import type { Card } from '../schema.js';
import type { Database } from '../space.js';

export interface Described {
  readonly hash: string;
  readonly bytes: number;
  readonly type: string;
  readonly width: number;
  readonly height: number;
}

const HASH = /^[0-9a-f]{64}$/;
const isSize = (value: Json | undefined): value is number => typeof value === 'number' && value > 0;

/** Anybody who may write in a space, and any file, may say anything there. */
export function describedIn(extra: Json | undefined): Described | undefined {
  const said = isObject(extra) ? extra.image : undefined;
  if (!isObject(said)) return undefined;
  const { hash, bytes, type, width, height } = said;
  if (typeof hash !== 'string' || !HASH.test(hash) || typeof type !== 'string') return undefined;
  if (!isSize(bytes) || !isSize(width) || !isSize(height)) return undefined;
  return { hash, bytes, type, width, height };
}

export function withoutPicture(extra: Json): Json {
  if (!isObject(extra)) return extra;
  const { image: _, ...others } = extra;
  return Object.keys(others).length > 0 ? others : null;
}

/** Which file a card shows: by its row, or by what the card says until that row is there. */
export function hashOf(db: Database, { image, extra }: Pick<Card, 'image' | 'extra'>): string | undefined {
  return db.tables.image.get(image ?? '')?.hash ?? describedIn(extra)?.hash;
}

/** The ids of the pictures of a space, by hash; also of those that are still on their way. */
export function knownPictures(db: Database): Map<string, string> {
  const known = new Map<string, string>();
  for (const { image, extra } of db.tables.card.query((card) => card.image !== null)) {
    const hash = describedIn(extra)?.hash;
    if (hash && image) known.set(hash, image);
  }
  for (const { id, hash } of db.tables.image.query()) known.set(hash, id);
  return known;
}

type NewCard = Imported['cards'][number];

/** The card of a file or a clipboard with its picture, if the space has it. */
export function withKnown(card: NewCard, known: ReadonlyMap<string, string>): NewCard {
  const image = known.get(describedIn(card.extra)?.hash ?? '');
  return image === undefined ? card : { ...card, image };
}

/** The cards that show a file. */
export function cardsOf(db: Database, hash: string): Card[] {
  return db.tables.card.query((card) => card.image !== null && hashOf(db, card) === hash);
}
