/** What a canvas is made of. `npm run schema` writes server/schema.json from it, which the sync server reads. */

import { defineSchema, type Row } from 'driftline';

const place = {
  x: { type: 'real', default: 0 },
  y: { type: 'real', default: 0 },
  width: { type: 'real', default: 260 },
  height: { type: 'real', default: 140 },
  /** Higher is nearer to the reader; in a JSON Canvas file it is the place in the list. */
  z: { type: 'real', default: 0 },
} as const;

const fromFile = {
  /** The id that the row has in the JSON Canvas file it came from. */
  source_id: { type: 'text', nullable: true },
  /** What the file says of it that JSON Canvas 1.0 does not define. */
  extra: { type: 'json', nullable: true },
} as const;

const optionalText = { type: 'text', nullable: true } as const;

export const schema = defineSchema({
  name: 'canvas',
  version: 2,
  tables: {
    connection_type: {
      fields: { name: { type: 'text', default: '', max_chars: 4000 }, color: optionalText },
    },
    card: {
      fields: {
        kind: { type: 'text', default: 'text', max_chars: 100 },
        text: { type: 'text', default: '', max_chars: 65536 },
        file: optionalText,
        subpath: optionalText,
        url: optionalText,
        ...place,
        color: optionalText,
        votes: { type: 'counter' },
        ...fromFile,
      },
      references: { image: { to: ['image'], nullable: true, on_delete: 'set_null' } },
    },
    /** A file that the server has. Its row is made by the outbox of files, and nothing that refers to it is sent before. */
    image: {
      fields: {
        hash: { type: 'text', max_chars: 64 },
        bytes: { type: 'int' },
        type: { type: 'text', max_chars: 100 },
        width: { type: 'int' },
        height: { type: 'int' },
      },
    },
    box: {
      fields: {
        label: optionalText,
        background: optionalText,
        background_style: optionalText,
        ...place,
        color: optionalText,
        ...fromFile,
      },
    },
    connection: {
      fields: {
        from_side: optionalText,
        to_side: optionalText,
        from_end: optionalText,
        to_end: optionalText,
        color: optionalText,
        label: optionalText,
        ...fromFile,
      },
      references: {
        start_item: { to: ['card', 'box'], on_delete: 'cascade' },
        end_item: { to: ['card', 'box'], on_delete: 'cascade' },
        connection_type: { to: ['connection_type'], nullable: true, on_delete: 'restrict' },
      },
    },
  },
});

export type CanvasSchema = typeof schema;
export type Image = Row<CanvasSchema, 'image'>;
export type Card = Row<CanvasSchema, 'card'>;
export type Box = Row<CanvasSchema, 'box'>;
export type Connection = Row<CanvasSchema, 'connection'>;
export type ConnectionType = Row<CanvasSchema, 'connection_type'>;
export type Item = Connection['start_item'];
