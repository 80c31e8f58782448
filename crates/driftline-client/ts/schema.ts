/** The schema in TypeScript: a literal in the format of `schema.json`, and the row types that follow from it. */

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

export type FieldInput =
  | {
      readonly type: 'text';
      readonly nullable?: boolean;
      readonly default?: string | null;
      readonly max_chars?: number;
      /** What several people type is merged by lines; where they overlap, what lost stands in `<field>_conflict`. */
      readonly merge?: 'three_way';
    }
  /** A place among others: see `positionBetween` and `byPosition`. */
  | { readonly type: 'position'; readonly nullable?: boolean; readonly default?: string | null; readonly merge?: never }
  /** Names, each once. What several people put in or take out adds up. */
  | { readonly type: 'set'; readonly nullable?: false; readonly default?: readonly string[]; readonly merge?: never }
  | {
      readonly type: 'real' | 'int';
      readonly nullable?: boolean;
      readonly default?: number | null;
      readonly merge?: never;
    }
  | { readonly type: 'bool'; readonly nullable?: boolean; readonly default?: boolean | null; readonly merge?: never }
  | { readonly type: 'json'; readonly nullable?: boolean; readonly default?: Json; readonly merge?: never }
  | { readonly type: 'counter'; readonly nullable?: false; readonly default?: number; readonly merge?: never };

/** Every reference says what deleting its target does; only a nullable one can be set to null. */
export type ReferenceInput =
  | {
      readonly to: readonly [string, ...string[]];
      readonly nullable?: false;
      readonly on_delete: 'cascade' | 'restrict';
    }
  | {
      readonly to: readonly [string, ...string[]];
      readonly nullable: true;
      readonly on_delete: 'cascade' | 'restrict' | 'set_null';
    }
  /** To a row that may be absent, or in another space: it is an id, orders nothing, and nothing happens to it. */
  | { readonly weak: true; readonly nullable?: boolean; readonly to?: readonly string[]; readonly on_delete?: never };

/** How many rows refer to this one by a reference, `table.reference`. It is read, and nobody sets it. */
export interface CountInput {
  readonly of: `${string}.${string}`;
}

export interface TableInput {
  readonly fields?: { readonly [field: string]: FieldInput };
  readonly references?: { readonly [reference: string]: ReferenceInput };
  readonly counts?: { readonly [count: string]: CountInput };
  /**
   * What becomes of an edit to a row that someone else deleted: dropped with a notice (the default), the same with references to it set to
   * null, parked, or the row is made again.
   */
  readonly edits_to_deleted?: 'drop' | 'null' | 'park' | 'restore';
  /** Its rows stay on the server: this device neither holds nor edits them. */
  readonly server_only?: boolean;
  /** Indexes for whoever reads the server's tables with SQL: a name, and the fields in order. */
  readonly indexes?: { readonly [index: string]: readonly [string, ...string[]] };
}

/** The type of a field that can be converted. */
export type ConvertedType = 'text' | 'real' | 'int' | 'bool' | 'json' | 'counter';

/** One step from a version to the next. Tables and fields are named as of this step. */
export type StepInput =
  | { readonly rename_table: { readonly from: string; readonly to: string } }
  | { readonly rename: { readonly table: string; readonly from: string; readonly to: string } }
  | {
      readonly convert: {
        readonly table: string;
        readonly field: string;
        readonly from: ConvertedType;
        readonly to: ConvertedType;
        /** For values without a counterpart. */
        readonly default?: Json;
      };
    }
  /** A field's value for rows that lack it; of a reference, the id of a row, which is made where it is not there. */
  | { readonly add: { readonly table: string; readonly field: string; readonly default: Json } }
  | { readonly drop: { readonly table: string; readonly field: string } }
  | { readonly drop_table: { readonly table: string } };

export interface UpgradeInput {
  readonly to: number;
  readonly steps: readonly StepInput[];
}

export interface SchemaInput {
  readonly name: string;
  readonly version: number;
  readonly tables: { readonly [table: string]: TableInput };
  /** What leads here from older versions, oldest first. */
  readonly upgrades?: readonly UpgradeInput[];
}

type AnyTable<S extends SchemaInput> = keyof S['tables'] & string;

/** The tables that a client holds. */
export type TableName<S extends SchemaInput> = {
  [T in AnyTable<S>]: S['tables'][T] extends { readonly server_only: true } ? never : T;
}[AnyTable<S>];

/** Narrows `to` from any text to the tables of this very schema, so that a misspelled target does not compile. */
type TargetsExist<S extends SchemaInput> = {
  readonly tables: {
    readonly [T in keyof S['tables']]: {
      readonly references?: {
        readonly [R in keyof References<S['tables'][T]>]:
          | (ReferenceInput & { readonly to: readonly AnyTable<S>[] })
          | (ReferenceInput & { readonly weak: true });
      };
      readonly counts?: {
        readonly [C in keyof Counts<S['tables'][T]>]: { readonly of: Countable<S, T> };
      };
    };
  };
};

/** The references of a schema that may point at a table, as `table.reference`. */
type Countable<S extends SchemaInput, T extends keyof S['tables']> = {
  [From in AnyTable<S>]: {
    [R in keyof References<S['tables'][From]> & string]: References<S['tables'][From]>[R] extends {
      readonly to: readonly (infer To)[];
      readonly weak?: never;
    }
      ? T extends To
        ? `${From}.${R}`
        : never
      : never;
  }[keyof References<S['tables'][From]> & string];
}[AnyTable<S>];

/** Returns the schema as it is; what it adds are the checks and the types. `JSON.stringify` of it is `schema.json`. */
export function defineSchema<const S extends SchemaInput>(schema: S & TargetsExist<S>): S {
  return schema;
}

// The names are taken from the literal, because `TableInput` itself would allow any name.
type Fields<T> = T extends { readonly fields: infer F } ? F : unknown;
type References<T> = T extends { readonly references: infer R } ? R : unknown;
type Counts<T> = T extends { readonly counts: infer C } ? C : unknown;

type OrNull<Definition, Value> = Definition extends { readonly nullable: true } ? Value | null : Value;

type FieldValue<F> = F extends { readonly type: 'text' | 'position' }
  ? OrNull<F, string>
  : F extends { readonly type: 'real' | 'int' | 'counter' }
    ? OrNull<F, number>
    : F extends { readonly type: 'bool' }
      ? OrNull<F, boolean>
      : F extends { readonly type: 'json' }
        ? OrNull<F, Exclude<Json, null>>
        : F extends { readonly type: 'set' }
          ? readonly string[]
          : never;

/** A row id where there is one target, and `{table: id}` where there are several. */
type Target<To> = To extends readonly [infer _One]
  ? string
  : To extends readonly (infer T extends string)[]
    ? OneOf<T>
    : never;
type OneOf<T extends string> = T extends string ? { readonly [K in T]: string } : never;

type ReferenceValue<R> = R extends { readonly weak: true }
  ? OrNull<R, string>
  : R extends { readonly to: infer To }
    ? OrNull<R, Target<To>>
    : never;

type Values<T> = { -readonly [K in keyof Fields<T>]: FieldValue<Fields<T>[K]> } & {
  -readonly [K in keyof References<T>]: ReferenceValue<References<T>[K]>;
} & { -readonly [K in ConflictKeys<Fields<T>>]: readonly string[] | null };

type Definitions<T> = Fields<T> & References<T>;
type MayBeLeftOut = { readonly nullable: true } | { readonly type: 'counter' | 'set' };
type OptionalKeys<D> =
  | { [K in keyof D]: D[K] extends MayBeLeftOut ? K : 'default' extends keyof D[K] ? K : never }[keyof D]
  | ConflictKeys<D>;
type KeysOf<D, Type> = { [K in keyof D]: D[K] extends { readonly type: Type } ? K : never }[keyof D];
type CounterKeys<D> = KeysOf<D, 'counter'>;
type SetKeys<D> = KeysOf<D, 'set'>;
/** The fields that come with texts which are merged. */
type ConflictKeys<D> = {
  [K in keyof D]: D[K] extends { readonly merge: 'three_way' } ? `${K & string}_conflict` : never;
}[keyof D];

type Flat<T> = { [K in keyof T]: T[K] };

/** A row as it is read. Rows are never changed in place: a changed row is another object. */
export type Row<S extends SchemaInput, T extends TableName<S>> = Flat<
  { readonly id: string } & Readonly<Values<S['tables'][T]>> & {
      readonly [C in keyof Counts<S['tables'][T]>]: number;
    }
>;

/** What a create takes. `id` is made when it is left out, and so are fields that are nullable or have a default. */
export type NewRow<S extends SchemaInput, T extends TableName<S>> = Flat<
  { id?: string } & Omit<Values<S['tables'][T]>, OptionalKeys<Definitions<S['tables'][T]>>> &
    Partial<Pick<Values<S['tables'][T]>, OptionalKeys<Definitions<S['tables'][T]>> & keyof Values<S['tables'][T]>>>
>;

/**
 * What an update takes: the fields to set, for a counter an {@link Increment}, and for a set a {@link SetChange}. Texts that
 * could not be merged are settled by setting their field to null.
 */
export type Patch<S extends SchemaInput, T extends TableName<S>> = OrNothing<
  Partial<Omit<Values<S['tables'][T]>, MergedKeys<Definitions<S['tables'][T]>>>> & {
    [K in CounterKeys<Definitions<S['tables'][T]>>]?: Increment;
  } & { [K in SetKeys<Definitions<S['tables'][T]>>]?: SetChange } & {
    [K in ConflictKeys<Definitions<S['tables'][T]>>]?: null;
  }
>;
/** `{}` would take anything: where there is nothing to set, nothing can be said. */
type OrNothing<P> = [keyof P] extends [never] ? Record<string, never> : Flat<P>;
type MergedKeys<D> = CounterKeys<D> | SetKeys<D> | ConflictKeys<D>;

/** Elements to put into a set, and to take out of it. */
export interface SetChange {
  readonly insert?: readonly string[];
  readonly remove?: readonly string[];
}

/** An amount to add to a counter. Increments of several people add up, where set values would overwrite each other. */
export class Increment {
  readonly by: number;
  constructor(by: number) {
    this.by = by;
  }
}

export function increment(by = 1): Increment {
  return new Increment(by);
}
