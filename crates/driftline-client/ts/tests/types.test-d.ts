/** Checked by `tsc` alone: what must compile does, and each `@ts-expect-error` marks what must not. */

import {
  byPosition,
  type Db,
  defineSchema,
  increment,
  type NewRow,
  type Patch,
  positionBetween,
  type Row,
} from '../index.js';

const schema = defineSchema({
  name: 'canvas',
  version: 1,
  tables: {
    list: { fields: { name: { type: 'text' } } },
    box: {},
    card: {
      fields: {
        name: { type: 'text', max_chars: 4000, default: '' },
        x: { type: 'real', default: 0 },
        n: { type: 'int' },
        locked: { type: 'bool' },
        frame: { type: 'json', nullable: true },
        votes: { type: 'counter' },
        body: { type: 'text', default: '', merge: 'three_way' },
        labels: { type: 'set' },
        place: { type: 'position', nullable: true },
      },
      references: {
        list: { to: ['list'], nullable: true, on_delete: 'set_null' },
        item: { to: ['card', 'box'], on_delete: 'cascade' },
      },
      edits_to_deleted: 'drop',
    },
  },
});
type S = typeof schema;

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<_T extends true>(): void {}

type Card = Row<S, 'card'>;
same<Equal<Card['id'], string>>();
same<Equal<Card['name'], string>>();
same<Equal<Card['n'], number>>();
same<Equal<Card['votes'], number>>();
same<Equal<Card['locked'], boolean>>();
same<Equal<Card['body'], string>>();
same<Equal<Card['body_conflict'], readonly string[] | null>>();
same<Equal<Card['labels'], readonly string[]>>();
same<Equal<Card['place'], string | null>>();
same<Equal<Card['list'], string | null>>();
same<Equal<Card['item'], { readonly card: string } | { readonly box: string }>>();
same<Equal<Row<S, 'box'>, { readonly id: string }>>();

const row: NewRow<S, 'card'> = { n: 1, locked: false, item: { box: 'b' } };
export const all: NewRow<S, 'card'> = { ...row, id: 'i', name: 'a', frame: { a: [1] }, votes: 3, list: null };
export const patch: Patch<S, 'card'> = { name: 'b', votes: increment(2), list: null, frame: null };

export const merges: Patch<S, 'card'> = {
  body: 'typed',
  body_conflict: null,
  labels: { insert: ['a'], remove: ['b'] },
  place: positionBetween(null, null),
};
export const labelled: NewRow<S, 'card'> = { ...row, body: 'a', labels: ['a', 'b'], place: 'V' };

// @ts-expect-error a set is changed, never replaced
export const setLabels: Patch<S, 'card'> = { labels: ['a'] };
// @ts-expect-error what could not be merged is settled, never set
export const setConflict: Patch<S, 'card'> = { body_conflict: ['a'] };
// @ts-expect-error only a text that is merged has conflicts
export const noConflict: Patch<S, 'card'> = { name_conflict: null };
// @ts-expect-error a row keeps its id
export const moved: Patch<S, 'card'> = { id: 'other' };
// @ts-expect-error `n` has neither a default nor null
export const noN: NewRow<S, 'card'> = { locked: false, item: { box: 'b' } };
// @ts-expect-error a required reference cannot be left out
export const noItem: NewRow<S, 'card'> = { n: 1, locked: false };
// @ts-expect-error a reference to one of several tables names the table
export const plainItem: Patch<S, 'card'> = { item: 'b' };
// @ts-expect-error `list` is not a target of `item`
export const wrongItem: Patch<S, 'card'> = { item: { list: 'l' } };
// @ts-expect-error a counter is added to, never set
export const setCounter: Patch<S, 'card'> = { votes: 3 };
// @ts-expect-error only a counter is incremented
export const incrementField: Patch<S, 'card'> = { n: increment() };
// @ts-expect-error there is no such column
export const noColumn: Patch<S, 'card'> = { nme: 'x' };
export const nothing: Patch<S, 'box'> = {};
// @ts-expect-error a table without fields has none to set
export const noFields: Patch<S, 'box'> = { name: 'x' };
// @ts-expect-error `name` is not nullable
export const nullName: Patch<S, 'card'> = { name: null };

export function useDb(db: Db<S>): void {
  const card = db.tables.card.create(row);
  card.id satisfies string;
  card.accepted satisfies Promise<void>;
  db.tables.card.query((c) => c.x > 1 && c.list === null)[0]?.name satisfies string | undefined;
  db.transaction((tx) => {
    const list = tx.list.create({ name: 'to do' });
    tx.card.update(card.id, { list, votes: increment() });
    // @ts-expect-error the schema has no such table
    tx.lists.create({ name: 'x' });
  });
  db.tables.card.query().sort(byPosition('place'));
  // @ts-expect-error `n` is no position
  db.tables.card.query().sort(byPosition('n'));
  const [first] = db.tables.card.query();
  // @ts-expect-error rows are read-only
  if (first) first.name = 'x';
  // @ts-expect-error what a set holds is read-only, too
  first?.labels.push('x');
  // @ts-expect-error there may be no row
  db.tables.card.query()[0].name;
}

export function useTables(db: Db<S>, row: Card, list: Row<S, 'list'>): void {
  // @ts-expect-error the schema has no such table
  db.tables.cards;
  // @ts-expect-error there may be no such row
  db.tables.card.get('a').name;
  // @ts-expect-error a row has no such field
  row.nme;
  // @ts-expect-error an int is no text
  row.n satisfies string;
  // @ts-expect-error a reference may be null
  row.list satisfies string;
  // @ts-expect-error which table a reference names is not known before it is looked at
  row.item.card satisfies string;
  // @ts-expect-error a list is no card
  list satisfies Card;
  // @ts-expect-error a list has no such field
  db.tables.list.query((one) => one.x > 0);
  // @ts-expect-error a predicate says yes or no
  db.tables.card.query((one) => one.name);
  // @ts-expect-error a text is not compared with a number
  db.tables.card.query((one) => one.name === 1);
  // @ts-expect-error a required field is missing
  db.tables.list.create({});
  // @ts-expect-error a box has no field of a card
  db.tables.box.create({ name: 'x' });
  // @ts-expect-error nor can one be set
  db.tables.box.update('a', { name: 'x' });
  // @ts-expect-error an update names the row
  db.tables.card.update({ name: 'x' });
  // @ts-expect-error a row keeps its id
  db.tables.card.update('a', { id: 'b' });
  // @ts-expect-error a reference is an id, and not a row
  db.tables.card.update('a', { list });
  // @ts-expect-error a row of another table is no target of `item`
  db.tables.card.update('a', { item: { list: list.id } });
  // @ts-expect-error a reference names one table
  db.tables.card.create({ n: 1, locked: false, item: { line: 'l' } });
  // @ts-expect-error a required reference is not null
  db.tables.card.update('a', { item: null });
  // @ts-expect-error a text is no number
  db.tables.card.update('a', { x: '1' });
  // @ts-expect-error a bool is neither 0 nor 1
  db.tables.card.update('a', { locked: 1 });
  // @ts-expect-error a function is no JSON
  db.tables.card.update('a', { frame: { draw: () => {} } });
  // @ts-expect-error an increment is made by `increment`
  db.tables.card.update('a', { votes: { by: '1' } });
  // @ts-expect-error a row is restored under its id
  db.transaction((tx) => tx.list.restore({ name: 'x' }));
  // @ts-expect-error within a transaction, too, the table has no such field
  db.transaction((tx) => tx.list.update('a', { title: 'x' }));
  // @ts-expect-error a parked edit can be made to refer to rows of tables that exist
  db.reparent('c:1', { table: 'lists', id: 'a' }, null);
  // @ts-expect-error an amended edit is as typed as any
  db.amend('c:1', (tx) => tx.card.update('a', { name: 1 }));
  // @ts-expect-error spaces of two schemas are not the same
  db satisfies Db<typeof site>;
}

export const noOnDelete = defineSchema({
  name: 's',
  version: 1,
  // @ts-expect-error every reference says what deleting its target does
  tables: { a: { references: { up: { to: ['a'], nullable: true } } } },
});
export const setNull = defineSchema({
  name: 's',
  version: 1,
  // @ts-expect-error set_null needs a nullable reference
  tables: { a: { references: { up: { to: ['a'], on_delete: 'set_null' } } } },
});
export const noTarget = defineSchema({
  name: 's',
  version: 1,
  // @ts-expect-error the schema has no table `b`
  tables: { a: { references: { up: { to: ['b'], nullable: true, on_delete: 'cascade' } } } },
});
export const noTables = defineSchema({
  name: 's',
  version: 1,
  // @ts-expect-error a reference has a target
  tables: { a: { references: { up: { to: [], on_delete: 'cascade' } } } },
});
export const nullableCounter = defineSchema({
  name: 's',
  version: 1,
  // @ts-expect-error a counter begins at 0 and cannot be null
  tables: { a: { fields: { n: { type: 'counter', nullable: true } } } },
});
export const nullableSet = defineSchema({
  name: 's',
  version: 1,
  // @ts-expect-error a set begins empty and cannot be null
  tables: { a: { fields: { n: { type: 'set', nullable: true } } } },
});
export const wrongMerge = defineSchema({
  name: 's',
  version: 1,
  // @ts-expect-error only texts are merged
  tables: { a: { fields: { n: { type: 'int', merge: 'three_way' } } } },
});
export const wrongDefault = defineSchema({
  name: 's',
  version: 1,
  // @ts-expect-error a number is no text
  tables: { a: { fields: { n: { type: 'text', default: 1 } } } },
});

const site = defineSchema({
  name: 'site',
  version: 1,
  tables: {
    article: {
      fields: { title: { type: 'text', default: '' } },
      references: { source: { weak: true, nullable: true } },
      counts: { comments: { of: 'comment.subject' }, views: { of: 'page_view.article' } },
    },
    comment: {
      references: {
        subject: { to: ['article', 'comment'], nullable: true, on_delete: 'set_null' },
      },
    },
    page_view: { references: { article: { to: ['article'], on_delete: 'cascade' } }, server_only: true },
  },
});
same<Equal<Row<typeof site, 'article'>['comments'], number>>();
export const newArticle: NewRow<typeof site, 'article'> = { title: 'a' };
// @ts-expect-error a count follows from the rows: a create leaves it out
export const newCount: NewRow<typeof site, 'article'> = { comments: 1 };
// @ts-expect-error nobody sets a count
export const setCount: Patch<typeof site, 'article'> = { comments: 1 };
// @ts-expect-error nobody adds to a count
export const addCount: Patch<typeof site, 'article'> = { views: increment() };
defineSchema({
  name: 's',
  version: 1,
  // @ts-expect-error there is no such reference
  tables: { a: { counts: { n: { of: 'b.up' } } }, b: { references: { a: { to: ['a'], on_delete: 'cascade' } } } },
});
defineSchema({
  name: 's',
  version: 1,
  // @ts-expect-error the reference cannot point at this table
  tables: { a: {}, b: { references: { a: { to: ['a'], on_delete: 'cascade' } }, counts: { n: { of: 'b.a' } } } },
});
defineSchema({
  name: 's',
  version: 1,
  // @ts-expect-error nobody looks after weak references
  tables: { a: { references: { up: { weak: true } }, counts: { n: { of: 'a.up' } } } },
});
same<Equal<Row<typeof site, 'article'>['source'], string | null>>();
// @ts-expect-error a table that stays on the server has no rows here
export type View = Row<typeof site, 'page_view'>;
export function useSite(db: Db<typeof site>): void {
  // @ts-expect-error a table that stays on the server cannot be read
  db.tables.page_view;
  // @ts-expect-error a table that stays on the server cannot be edited
  db.transaction((tx) => tx.page_view.create({ article: 'a' }));
  // @ts-expect-error a weak reference is an id
  db.tables.article.update('a', { source: { article: 'b' } });
}
defineSchema({
  name: 's',
  version: 1,
  // @ts-expect-error a weak reference does nothing when its row is deleted
  tables: { a: { references: { b: { weak: true, on_delete: 'cascade' } } } },
});
