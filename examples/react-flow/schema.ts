import { defineSchema } from 'driftline';

export const schema = defineSchema({
  name: 'react_flow',
  version: 1,
  tables: {
    node: {
      fields: {
        label: { type: 'text', default: '', max_chars: 1000 },
        x: { type: 'real', default: 0 },
        y: { type: 'real', default: 0 },
      },
    },
    edge: {
      references: {
        source: { to: ['node'], on_delete: 'cascade' },
        target: { to: ['node'], on_delete: 'cascade' },
      },
    },
  },
});
