import { defineSchema } from 'driftline';

export const schema = defineSchema({
  name: 'excalidraw',
  version: 1,
  tables: {
    element: {
      fields: {
        /** Excalidraw's own name of it. */
        element_id: { type: 'text', max_chars: 100 },
        /** Its place among the others: Excalidraw makes these so that they sort as text. */
        place: { type: 'text', nullable: true, max_chars: 1000 },
        // Apart from the rest, so that one person can move what another colours.
        x: { type: 'real' },
        y: { type: 'real' },
        rest: { type: 'json' },
      },
    },
  },
});
