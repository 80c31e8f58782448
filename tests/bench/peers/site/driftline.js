// Driftline itself, by the same steps as its peers.

import * as ours from '/ours.js';

export async function open({ schema, room, name, url, counts }) {
  const db = await ours.openSpace(schema, { space: room, app: name, url });
  db.setOnline(false);
  return { db, room, counts };
}

export async function openSecond({ schema, room, name, url, counts }) {
  const { db } = await ours.coldOpen(schema, { space: room, app: name, url }, counts);
  return { db, room };
}

export const burst = ({ db }, work) => ours.burst(db, work);
export const single = ({ db }, row) => db.tables.card.create(row).saved;
export const drain = ({ db }) => ours.drain(db);

export const read = ({ db }) => ({
  card: db.tables.card.query(),
  connection_type: db.tables.connection_type.query(),
  connection: db.tables.connection.query(),
});

export const close = ({ db }) => db.close();
