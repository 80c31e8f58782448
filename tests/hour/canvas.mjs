// The canvas of one tab under a person's hands: where things are, how they are taken hold of, and what is written.

import { setTimeout as sleep } from 'node:timers/promises';

/** Where an item is taken hold of: beside its handles and corners. */
export const GRIP = { x: 34, y: 9 };

export class Canvas {
  page;
  paceMs;

  constructor(page, paceMs) {
    this.page = page;
    this.paceMs = paceMs;
  }

  node = (id) => this.page.locator(`.react-flow__node[data-id="${id}"]`);

  async choose(id, modifiers = []) {
    if (modifiers.length === 0) await this.press('Escape');
    await this.node(id).click({ position: GRIP, modifiers });
    await this.page.locator(`.react-flow__node.selected[data-id="${id}"]`).waitFor();
    await this.rest();
  }

  /** All of the canvas in view, and the pointer over a place of it. */
  async pointAt([x, y]) {
    await this.press('Escape');
    await this.press('Shift+1');
    const on = await this.page.evaluate(
      ([x, y]) => {
        const pane = document.querySelector('.react-flow').getBoundingClientRect();
        const at = new DOMMatrix(getComputedStyle(document.querySelector('.react-flow__viewport')).transform);
        return [pane.x + at.e + x * at.a, pane.y + at.f + y * at.d];
      },
      [x, y],
    );
    await this.page.mouse.move(on[0] - 3, on[1] - 3);
    await this.page.mouse.move(...on);
  }

  async type(text) {
    await this.draft().pressSequentially(text, { delay: this.paceMs / 10 });
  }

  async press(keys) {
    await this.page.keyboard.press(keys);
    await this.rest();
  }

  rest = () => sleep(this.paceMs / 4);
  draft = () => this.page.locator('[data-testid=draft]');
  toolbarType = () => this.page.locator('[aria-label=Tools] [data-testid=connection-type]');
  placed = async (id) => {
    const { x, y } = await this.rowOf(id);
    return { op: 'set', id, set: { x, y } };
  };

  undoSteps = () => this.page.evaluate(() => window.driftline.status.undo);

  idsOf = (table) => this.page.evaluate((table) => window.driftline.tables[table].query().map(({ id }) => id), table);

  rowOf = (id) =>
    this.page.evaluate((id) => {
      const { card, box } = window.driftline.tables;
      return card.get(id) ?? box.get(id);
    }, id);

  /** The id of the row that was not there before and is as wanted; it may take a moment. */
  async made(table, known, isIt) {
    for (let tries = 0; tries < 40; tries += 1) {
      const rows = await this.page.evaluate(readRows, table);
      const row = rows.find((one) => !known.includes(one.id) && isIt(one));
      if (row) return row.id;
      await sleep(50);
    }
    throw new Error(`the ${table} that was made is not there`);
  }
}

/** The rows of a table, with the ends of connections by their ids. */
export function readRows(table) {
  const idOf = (item) => item && Object.values(item)[0];
  const rows = window.driftline.tables[table].query();
  return rows.map((row) => ({ ...row, table, start: idOf(row.start_item), end: idOf(row.end_item) }));
}
