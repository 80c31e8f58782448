// What a person does, by mouse and keyboard. Each returns what it changed, for the ledger; before it begins it says what it may have
// changed if the tab dies meanwhile.

import { Canvas, GRIP } from './canvas.mjs';

/** A hand that rests while it drags makes more than one step of it. */
const UNDO_MAX = 12;

/** What an action changes, as far as it got. */
const PLACE = ['x', 'y'];
const CHANGES = {
  write: ['text'],
  tick: ['text'],
  drag: PLACE,
  'drag-back': PLACE,
  nudge: PLACE,
  paint: ['color'],
  vote: ['votes'],
};

export class Hands {
  #canvas;
  #ledger;

  constructor(page, ledger, paceMs) {
    this.#canvas = new Canvas(page, paceMs);
    this.#ledger = ledger;
  }

  /** Returns `{ may, act }`, or nothing where what it is about is not there for this person. */
  async prepare(action) {
    if (!(await this.areThere(action))) return undefined;
    const ids = this.#idsOf(action);
    const made = (table, isIt) => ({ strays: [{ table, isIt }] });
    const { name } = action;
    switch (action.do) {
      case 'card':
        return { may: made('card', ({ text }) => name.startsWith(text)), act: () => this.#write('n', action, '') };
      case 'list':
        return {
          may: made('card', ({ text }) => isBegunList(text, name)),
          act: () => this.#write('l', action, '- [ ] '),
        };
      case 'box':
        return { may: made('box', ({ label }) => `New box ${name}`.startsWith(label)), act: () => this.#box(action) };
      case 'kind':
        return { may: made('connection_type', (row) => row.name === name), act: () => this.#kind(name) };
      case 'copy':
        return { may: made('card', () => true), act: () => this.#copy(action, ids[0]) };
      case 'connect':
        return {
          may: made('connection', (row) => row.start === ids[0] && row.end === ids[1]),
          act: () => this.#connect(ids, action.kind),
        };
      default:
        return { may: { touched: ids, what: CHANGES[action.do] }, act: () => this.#on(action, ids[0]) };
    }
  }

  /** Whether what it is about is there for this person. */
  async areThere(action) {
    for (const id of this.#idsOf(action)) if (id === undefined || !(await this.#canvas.rowOf(id))) return false;
    return true;
  }

  #idsOf = ({ target, from, to }) => [target, from, to].filter(Boolean).map(this.#ledger.idOf);

  #on(action, id) {
    const acts = {
      write: () => this.#append(id, ` ${action.words}`),
      drag: () => this.#drag(id, action),
      'drag-back': () => this.#dragBack(id, action),
      nudge: () => this.#nudge(id, action.key),
      paint: () => this.#paint(id, action.color),
      vote: () => this.#vote(id),
      tick: () => this.#tick(id),
      remove: () => this.#remove(id),
      'remove-back': () => this.#removeBack(id),
    };
    return acts[action.do]();
  }

  // ---- New things ----

  async #write(key, { name, cell }, before) {
    const text = before + name;
    await this.#canvas.pointAt(cell);
    const known = await this.#canvas.idsOf('card');
    await this.#canvas.press(key);
    await this.#canvas.type(name);
    await this.#canvas.press('Escape');
    const id = await this.#canvas.made('card', known, (row) => row.text === text);
    const { x, y } = await this.#canvas.rowOf(id);
    return [{ op: 'create', table: 'card', id, name, set: { text, x, y } }];
  }

  async #box({ name, cell }) {
    await this.#canvas.pointAt(cell);
    const known = await this.#canvas.idsOf('box');
    await this.#canvas.press('b');
    await this.#canvas.type(` ${name}`);
    await this.#canvas.press('Escape');
    const label = `New box ${name}`;
    const id = await this.#canvas.made('box', known, (row) => row.label === label);
    return [{ op: 'create', table: 'box', id, name, set: { label } }];
  }

  async #kind(name) {
    const known = await this.#canvas.idsOf('connection_type');
    await this.#canvas.toolbarType().selectOption('new');
    await this.#canvas.page
      .locator('[data-testid=type-name]')
      .pressSequentially(name, { delay: this.#canvas.paceMs / 10 });
    await this.#canvas.page.keyboard.press('Enter');
    const id = await this.#canvas.made('connection_type', known, (row) => row.name === name);
    return [{ op: 'create', table: 'connection_type', id, name, set: { name } }];
  }

  async #copy({ name, cell }, source) {
    const { text } = await this.#canvas.rowOf(source);
    await this.#canvas.choose(source);
    await this.#canvas.press('Control+c');
    await this.#canvas.pointAt(cell);
    const known = await this.#canvas.idsOf('card');
    await this.#canvas.press('Control+v');
    const id = await this.#canvas.made('card', known, (row) => row.text === text);
    await this.#canvas.press('Enter');
    await this.#canvas.type(` ${name}`);
    await this.#canvas.press('Escape');
    return [{ op: 'create', table: 'card', id, name, set: { text: `${text} ${name}` } }];
  }

  async #connect([from, to], kind) {
    const type = kind && this.#ledger.idOf(kind);
    const isThere =
      type !== undefined && (await this.#canvas.toolbarType().locator(`option[value="${type}"]`).count()) > 0;
    await this.#canvas.toolbarType().selectOption(isThere ? type : '');
    const known = await this.#canvas.idsOf('connection');
    await this.#canvas.choose(from);
    await this.#canvas.choose(to, ['Shift']);
    await this.#canvas.page.click('[data-testid=connect-selection]');
    const id = await this.#canvas.made('connection', known, (row) => row.start === from && row.end === to);
    return [
      { op: 'create', table: 'connection', id, ends: [from, to], set: { connection_type: isThere ? type : null } },
    ];
  }

  // ---- To things that are there ----

  async #append(id, words) {
    await this.#canvas.press('Escape');
    await this.#canvas.node(id).dblclick({ position: GRIP });
    await this.#canvas.draft().waitFor();
    await this.#canvas.page.keyboard.press('Control+End');
    await this.#canvas.type(words);
    const text = await this.#canvas.draft().inputValue();
    await this.#canvas.press('Escape');
    return [{ op: 'set', id, set: { text } }];
  }

  async #drag(id, { cell, dx, dy }) {
    await this.#canvas.press('Escape');
    const { x, y, width, height } = await this.#canvas.rowOf(id);
    const box = await this.#canvas.node(id).boundingBox();
    const zoom = box.width / width;
    const [byX, byY] = [(cell[0] + dx - x - width / 2) * zoom, (cell[1] + dy - y - height / 2) * zoom];
    const [fromX, fromY] = [box.x + GRIP.x, box.y + GRIP.y];
    const { mouse } = this.#canvas.page;
    await mouse.move(fromX, fromY);
    await mouse.down();
    await mouse.move(fromX + 2, fromY + 2);
    await mouse.move(fromX + byX, fromY + byY, { steps: 8 });
    await this.#canvas.rest();
    await mouse.up();
    return [await this.#canvas.placed(id)];
  }

  /** A drag in which the hand rests is taken back in as many steps. */
  async #dragBack(id, action) {
    const before = await this.#canvas.placed(id);
    const steps = await this.#canvas.undoSteps();
    await this.#drag(id, action);
    const more = (await this.#canvas.undoSteps()) - steps;
    const undone = [];
    while (!same(await this.#canvas.placed(id), before)) {
      if (undone.length === UNDO_MAX) throw new Error(`of ${more} steps undo takes back ${JSON.stringify(undone)}`);
      await this.#canvas.rest();
      await this.#canvas.press('Control+z');
      undone.push((await this.#canvas.placed(id)).set);
    }
    return [before];
  }

  async #nudge(id, key) {
    const before = await this.#canvas.placed(id);
    await this.#canvas.choose(id);
    await this.#canvas.press(key);
    const after = await this.#canvas.placed(id);
    if (same(before, after)) throw new Error(`${key} moved nothing`);
    return [after];
  }

  async #paint(id, color) {
    await this.#canvas.choose(id);
    await this.#canvas.page.click(`[data-testid=inspector] [data-testid=color-${color}]`);
    return [{ op: 'set', id, set: { color } }];
  }

  async #vote(id) {
    await this.#canvas.choose(id);
    await this.#canvas.node(id).locator('.votes').click();
    return [{ op: 'vote', id }];
  }

  async #tick(id) {
    await this.#canvas.node(id).locator('input[type=checkbox]').first().click();
    const { text } = await this.#canvas.rowOf(id);
    return [{ op: 'set', id, set: { text } }];
  }

  async #remove(id) {
    await this.#canvas.choose(id);
    await this.#canvas.press('Delete');
    await this.#canvas.node(id).waitFor({ state: 'detached' });
    return [{ op: 'delete', id }];
  }

  async #removeBack(id) {
    const { text } = await this.#canvas.rowOf(id);
    await this.#remove(id);
    await this.#canvas.rest();
    await this.#canvas.press('Control+z');
    await this.#canvas.node(id).waitFor();
    return [
      { op: 'delete', id },
      { op: 'restore', id, set: { text } },
    ];
  }
}

const isBegunList = (text, name) => `- [ ] ${name}`.startsWith(text);

const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
