import { defineSchema } from 'driftline';

export const schema = defineSchema({
  name: 'canvas_2d',
  version: 1,
  tables: {
    card: {
      fields: {
        text: { type: 'text', default: '', max_chars: 1000 },
        x: { type: 'real', default: 0 },
        y: { type: 'real', default: 0 },
      },
    },
    line: {
      references: {
        from: { to: ['card'], on_delete: 'cascade' },
        to: { to: ['card'], on_delete: 'cascade' },
      },
    },
  },
});
