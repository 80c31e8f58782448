import { defineSchema, open } from 'driftline';

const schema = defineSchema({
  name: 'notes',
  version: 1,
  tables: { card: { fields: { text: { type: 'text', default: '' } } } },
});

// The sync server's origin stands in the page's address, so that one build runs against any server.
const url = new URLSearchParams(location.search).get('server') ?? '';

const db = await open({ schema, space: 'vite', url });
const card = db.tables.card.create({ text: 'Hello from vite' });
await card.saved;
show('saved');
await card.accepted;
show('accepted');

function show(step: string): void {
  const item = document.createElement('li');
  item.textContent = step;
  document.querySelector('#steps')?.append(item);
}
