// Compiled, and never run: what the types of files allow, and what they refuse.

import { openBlobs } from '../blobs.js';
import { defineSchema, open } from '../index.js';

const schema = defineSchema({
  name: 's',
  version: 1,
  tables: {
    image: {
      fields: { hash: { type: 'text' }, bytes: { type: 'int' }, type: { type: 'text' }, width: { type: 'int' } },
    },
    card: { references: { image: { to: ['image'], nullable: true, on_delete: 'set_null' } } },
    secret: { server_only: true },
  },
});

export async function p1_a_file_and_its_row_are_typed(file: Blob) {
  const options = { schema, space: 'a', url: '' };
  const db = await open(options);
  const blobs = await openBlobs(db, { ...options, keepBytes: 1 });
  const image = await blobs.put(file, { table: 'image', row: (stored) => ({ ...stored, width: 1 }) });
  db.tables.card.create({ image: image.id });
  const { hash } = await blobs.put(file);
  const url: string = await blobs.url(hash);

  // @ts-expect-error: without a row there is no id
  (await blobs.put(file)).id;
  // @ts-expect-error: a width is required
  await blobs.put(file, { table: 'image', row: (stored) => stored });
  // @ts-expect-error: there is no such table
  await blobs.put(file, { table: 'picture', row: () => ({}) });
  // @ts-expect-error: its rows stay on the server
  await blobs.put(file, { table: 'secret', row: () => ({}) });
  // @ts-expect-error: a space and its url have to be named
  await openBlobs(db, { schema });
  return url;
}
