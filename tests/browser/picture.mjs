// Takes the picture of the app that the README shows: `node tests/browser/picture.mjs` writes docs/app.png.
//
// A canvas is made of which the server has most; then the app goes offline by its own switch, and a few more edits are
// made in an order in which they cannot be sent, so that the panel shows them sorted.

import { join } from 'node:path';
import { openBrowser, ROOT, startNetwork, startServer } from './harness.mjs';

const APP = join(ROOT, 'www');
const PICTURE = join(ROOT, 'docs', 'app.png');
const SIZE = { width: 1400, height: 900 };

const server = await startServer({
  schema: join(APP, 'server', 'schema.json'),
  migrations: join(APP, 'server', 'migrations'),
  staticDir: join(APP, 'dist'),
});
const network = await startNetwork(server.port);
const browser = await openBrowser({ options: { viewport: SIZE, deviceScaleFactor: 1 } });
const page = await browser.context.newPage();
await page.goto(`${network.url}/?space=harbour-plan&debug=1`);
await page.waitForFunction(() => window.driftline);

await page.evaluate(async () => {
  const { box, card, connection, connection_type } = window.driftline.tables;
  const size = { width: 240, height: 110 };
  const boxes = { height: 490, background: null };
  box.create({ label: 'Ideas', x: -40, y: -40, width: 320, ...boxes, color: '5', z: -2 });
  box.create({ label: 'This week', x: 340, y: -40, width: 320, ...boxes, color: '4', z: -2 });
  const place = (column, row) => ({ x: column * 380, y: row * 155, ...size, z: column * 10 + row });
  const ids = {
    map: card.create({ text: '## Tide map\nWhich piers dry out, and when?', ...place(0, 0), color: '5' }).id,
    ferry: card.create({ text: '**Ferry timetable**\n\nSummer and winter', ...place(0, 1) }).id,
    lights: card.create({ text: 'New lights on the breakwater', ...place(0, 2) }).id,
    survey: card.create({ text: '## Depth survey\n- [x] inner basin\n- [ ] outer basin', ...place(1, 0), color: '4' })
      .id,
    crane: card.create({ text: 'Book the crane', ...place(1, 1), votes: 3 }).id,
    berths: card.create({ text: 'Renumber the berths\n\nMia and Jonas', ...place(1, 2) }).id,
  };
  const needs = connection_type.create({ name: 'needs', color: '6' }).id;
  const between = (from, to, more) =>
    connection.create({ start_item: { card: ids[from] }, end_item: { card: ids[to] }, to_end: 'arrow', ...more });
  between('map', 'survey', { connection_type: needs });
  between('ferry', 'crane', {});
  between('lights', 'berths', { connection_type: needs });
  window.ids = ids;
});
await page.waitForFunction(() => window.driftline.outbox().length === 0);

await page.click('[data-testid=online-switch]');
await page.waitForSelector('[data-testid=status][data-state=offline]');
await page.evaluate(async () => {
  const { db, ids } = { db: window.driftline, ids: window.ids };
  const { box, card, connection, connection_type } = db.tables;
  const [sample] = card.query();
  // The ids first: connections are drawn before what they connect is there.
  const newId = () => crypto.randomUUID();
  const [pilot, opening, blocks] = [newId(), newId(), newId()];
  const from = (start, end, connectionType) =>
    connection.create({
      start_item: { card: start },
      end_item: { card: end },
      to_end: 'arrow',
      connection_type: connectionType,
    });
  from(ids.survey, pilot, blocks);
  from(pilot, opening, blocks);
  connection_type.create({ id: blocks, name: 'before', color: '2' });
  box.create({ label: 'Opening', x: 720, y: -40, width: 320, height: 490, color: '2', z: -2 });
  const size = { width: sample.width, height: sample.height };
  card.create({ id: opening, text: '## Opening day\n12 June, with a brass band', x: 760, y: 155, ...size, color: '2' });
  card.create({ id: pilot, text: 'Brief the pilots', x: 760, y: 0, ...size });
  card.update(ids.berths, { text: 'Renumber the berths\n\nMia and Jonas, by Friday' });
  const change = card.update(ids.crane, { color: '3' });
  await change.saved;
});
await page.click('[data-testid=view-zoom-fit]');
await page.mouse.move(SIZE.width - 40, SIZE.height - 20);
await page.evaluate(() => document.activeElement?.blur());
// The panel follows the engine, and the view follows the button, each in its own time.
await page.waitForFunction(() => {
  const shown = document.querySelectorAll('[data-testid=outbox-entry][data-state=queued]').length;
  return shown === window.driftline.outbox().length && document.getAnimations().length === 0;
});
await page.screenshot({ path: PICTURE });
console.log(`wrote ${PICTURE}`);
await browser.close();
await server.stop();
process.exit(0);
