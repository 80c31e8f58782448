'use client';

import { defineSchema, open } from 'driftline';
import { useEffect, useState } from 'react';

const schema = defineSchema({
  name: 'notes',
  version: 1,
  tables: { card: { fields: { text: { type: 'text', default: '' } } } },
});

export function Board() {
  const [db, setDb] = useState(null);
  const [steps, setSteps] = useState([]);

  useEffect(() => {
    // The sync server's origin stands in the page's address, so that one build runs against any server.
    const url = new URLSearchParams(location.search).get('server') ?? '';
    const opening = open({ schema, space: 'next', url });
    opening.then(setDb);
    return () => {
      setDb(null);
      opening.then((opened) => opened.close());
    };
  }, []);

  async function add() {
    const show = (step) => setSteps((before) => [...before, step]);
    const card = db.tables.card.create({ text: 'Hello from next' });
    await card.saved;
    show('saved');
    await card.accepted;
    show('accepted');
  }

  return (
    <>
      <button type="button" disabled={db === null} onClick={add}>
        Add a card
      </button>
      <ol id="steps" data-tables={Object.keys(schema.tables)}>
        {steps.map((step) => (
          <li key={step}>{step}</li>
        ))}
      </ol>
    </>
  );
}
