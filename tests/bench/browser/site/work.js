// The work that everything is measured with: edits of a canvas, the same ones each time.

const PER_TRANSACTION = { card: 40, connection_type: 5, connection: 20, move: 30, remove: 5 };
const WORDS = 'river stone window paper garden engine winter letter bridge market silver corner'.split(' ');

/** Numbers that look random and are the same each time (Mulberry32, Tommy Ettinger). */
function random(seed) {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** An id as devices make them, but the same each time. */
const id = (kind, n) => `0199${kind}-0000-7000-8000-${n.toString(16).padStart(12, '0')}`;

/**
 * So many transactions of 100 edits: 40 make cards, 5 connection types, 20 connections, 30 move a card, 5 delete one. Each edit is
 * `{ op, table, id, row }`. `rows` tells by table what is there in the end, connections of deleted cards having gone with them.
 */
export function makeWork(transactions = 100, seed = 1) {
  const below = random(seed);
  const [cards, types, connections] = [[], [], []];
  const made = { card: 0, connection_type: 0, connection: 0 };
  const text = (words) => Array.from({ length: words }, () => WORDS[below(WORDS.length)]).join(' ');
  const one = (list) => list[below(list.length)];
  const create = (table, list, kind, row) => {
    const edit = { op: 'create', table, id: id(kind, ++made[table]), row };
    list.push(table === 'connection' ? edit : edit.id);
    return edit;
  };
  const kinds = {
    card: () =>
      create('card', cards, 'aaaa', {
        name: text(6),
        x: below(20_000) / 4,
        y: below(20_000) / 4,
        width: 160 + below(80),
        height: 90 + below(60),
        background_color: `#${below(0xffffff).toString(16).padStart(6, '0')}`,
      }),
    connection_type: () =>
      create('connection_type', types, 'bbbb', {
        name: text(2),
        color: `#${below(0xffffff).toString(16).padStart(6, '0')}`,
      }),
    connection: () =>
      create('connection', connections, 'cccc', {
        start_item: { card: one(cards) },
        end_item: { card: one(cards) },
        connection_type: one(types),
        label: text(1),
      }),
    move: () => ({ op: 'update', table: 'card', id: one(cards), row: { x: below(20_000) / 4, y: below(20_000) / 4 } }),
    remove: () => ({ op: 'delete', table: 'card', id: cards.splice(below(cards.length), 1)[0] }),
  };
  const work = Array.from({ length: transactions }, (_, n) => {
    const order = Object.entries(PER_TRANSACTION).flatMap(([kind, count]) => Array(count).fill(kind));
    for (let i = order.length - 1; i > 0; i--) {
      const j = below(i + 1);
      [order[i], order[j]] = [order[j], order[i]];
    }
    // At first there is nothing to connect, move or delete.
    if (n === 0)
      order.sort((a, b) => Object.keys(PER_TRANSACTION).indexOf(a) - Object.keys(PER_TRANSACTION).indexOf(b));
    return order.map((kind) => kinds[kind]());
  });
  const there = new Set(cards);
  const left = connections.filter(({ row }) => there.has(row.start_item.card) && there.has(row.end_item.card)).length;
  return { work, rows: { card: cards.length, connection_type: types.length, connection: left } };
}

/** Goes on in a task of its own, as what people do one after another does. */
export function nextTask() {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(0);
  });
}

/** A single new card. */
export function makeCard(n) {
  return {
    id: id('dddd', n),
    name: `card ${n}: ${WORDS[n % 12]} ${WORDS[n % 7]} ${WORDS[n % 5]}`,
    x: n % 5_000,
    y: n % 3_000,
    width: 200,
    height: 120,
    background_color: '#ffeeaa',
  };
}
