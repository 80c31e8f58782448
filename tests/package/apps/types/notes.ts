// What an app's own code asks of the types, under each way of finding them. It is compiled and never run.

import { type Change, type Db, DriftlineError, defineSchema, increment, newId, open, type Status } from 'driftline';
import wasm from 'driftline/driftline_client_bg.wasm';
import { joinPresence } from 'driftline/presence';
import { precache } from 'driftline/service-worker';

const schema = defineSchema({
  name: 'notes',
  version: 1,
  tables: {
    card: { fields: { text: { type: 'text', default: '' }, votes: { type: 'counter' } } },
    line: { references: { from: { to: ['card'], on_delete: 'cascade' } } },
  },
});

export async function use(): Promise<string> {
  const db: Db<typeof schema> = await open({
    schema,
    space: 'types',
    url: '',
    wasm: new URL(wasm, 'https://app.example'),
  });
  const change: Change & { readonly id: string } = db.tables.card.create({ text: 'Hello' });
  await change.saved;
  db.tables.card.update(change.id, { votes: increment(1) });
  db.onStatus((status: Status) => console.log(status.line));

  const name: string | undefined = joinPresence<{ name: string }>(db).others.get('a')?.name;
  precache({ version: name ?? '1', files: ['./'] });

  // @ts-expect-error What the package uses itself is not for apps.
  db.home;
  // @ts-expect-error A version is named.
  precache({ files: [] });
  // @ts-expect-error There is no such table.
  db.tables.cart.create({});
  // @ts-expect-error A text is no number.
  db.tables.card.create({ text: 5 });
  // @ts-expect-error A line needs what it is from.
  db.tables.line.create({ id: newId() });

  const text: string | undefined = db.tables.card.get(change.id)?.text;
  return text ?? '';
}

export const codeOf = (error: unknown): string | undefined =>
  error instanceof DriftlineError ? error.code : undefined;
