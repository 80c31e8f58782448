/** Search in all texts of the space that are on this device. */

import { allItems } from '../edits.js';
import type { Database } from '../space.js';
import { readingOrder } from './geometry.js';

/** Without case and accents: who searches types what is quick to type. */
function plain(text: string): string {
  return text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase();
}

/** The ids of what says it: items as they are read, then connections. All words must be there, in any order. */
export function find(db: Database, query: string): string[] {
  const words = plain(query).split(/\s+/).filter(Boolean);
  if (words.length === 0) return [];
  const says = (...texts: (string | null | undefined)[]) => {
    const all = plain(texts.filter(Boolean).join('\n'));
    return words.every((word) => all.includes(word));
  };
  const items = allItems(db).filter((row) => ('label' in row ? says(row.label) : says(row.text, row.file, row.url)));
  const types = new Map(db.tables.connection_type.query().map((type) => [type.id, type.name]));
  const connections = db.tables.connection.query((row) => says(row.label, types.get(row.connection_type ?? '')));
  return [...readingOrder(items), ...connections].map((row) => row.id);
}
