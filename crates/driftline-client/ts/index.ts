/** The npm package `driftline`. */

import { Db } from './db.js';
import type { WasmSource } from './engine.js';
import { DriftlineError } from './errors.js';
import type { SchemaInput } from './schema.js';
import { ANONYMOUS, holdOpen, prefixOf } from './storage.js';

export type { Change } from './changes.js';
export type { Db, Group, Notice, RowName, Table, TransactionOptions } from './db.js';
export type { Transaction, TransactionTable } from './edits.js';
export type { WasmSource } from './engine.js';
export { DriftlineError, type Problem, type RowRef } from './errors.js';
export { newId } from './ids.js';
export { byPosition, positionBetween } from './positions.js';
export type { ChangedIds, ChangedRows, Unsubscribe } from './rows.js';
export {
  type ConvertedType,
  type CountInput,
  defineSchema,
  type FieldInput,
  type Increment,
  increment,
  type Json,
  type NewRow,
  type Patch,
  type ReferenceInput,
  type Row,
  type SchemaInput,
  type SetChange,
  type StepInput,
  type TableInput,
  type TableName,
  type UpgradeInput,
} from './schema.js';
export {
  type Budget,
  deleteSpace,
  evictSpaces,
  listSpaces,
  type SignedOut,
  type SignOutOptions,
  type SpaceInfo,
  signOut,
} from './spaces.js';
export type { DamagedRecord, Digest, OutboxEntry, Status } from './status.js';
export type { Owner } from './storage.js';
export type { Exported, Imported, ImportOptions } from './transfer.js';

export interface OpenOptions<S extends SchemaInput> {
  readonly schema: S;
  /** One document: 1 to 64 characters of `A-Z a-z 0-9 _ . -`. */
  readonly space: string;
  /** The server's origin; '' for the page's own. */
  readonly url: string;
  /** A credential, or a function that is asked for one whenever the server wants it. */
  readonly token?: string | (() => Promise<string | null> | string | null);
  /**
   * Whose edits these are. What waits for one user is neither shown to another nor sent for them: where this is given, the server
   * refuses it (`wrong_user`) with a credential that names another principal, and it waits for one of this user.
   */
  readonly user?: string;
  /** Keeps the stores of several apps on one origin apart; the schema's name if left out. */
  readonly app?: string;
  /** Where the engine's wasm is, for a bundler that does not follow `new URL(…, import.meta.url)`. */
  readonly wasm?: WasmSource;
  /**
   * Keeps what the engine is told, from now on, for `Db.trace()`: up to 32 MiB of it, in memory. For a report of a bug, not for
   * everybody: it holds all that the space holds.
   */
  readonly trace?: boolean;
}

// One engine serves every space of the page. A load that failed is forgotten, so that opening again tries again.
let engine: ReturnType<typeof load> | undefined;

/** Imported only now, so that code which merely names a schema, also on a server, loads no engine. */
async function load(wasm: WasmSource = new URL('./driftline_client_bg.wasm', import.meta.url)) {
  if (typeof indexedDB === 'undefined') {
    throw new DriftlineError({
      code: 'no_browser',
      detail: 'open() needs a page: call it in the browser only',
    });
  }
  try {
    const module = await import('./driftline_client.js');
    await module.default({ module_or_path: wasm });
    return module.Session;
  } catch (error) {
    const where = wasm instanceof URL || typeof wasm === 'string' ? ` from ${wasm}` : '';
    const detail = `the engine could not be loaded${where}; see the \`wasm\` option, and whether the page's policy allows 'wasm-unsafe-eval': ${error}`;
    throw new DriftlineError({ code: 'engine_not_loaded', detail });
  }
}

/**
 * Resolves as soon as edits can be made; `loaded` of the result tells when reads show what is there.
 *
 * It also resolves where the browser does not let its databases be opened. Then edits wait in memory, `status` is `not_saving` with the
 * reason, and `loaded` is pending until they can be opened: until then what reads show is not what this device holds.
 */
export async function open<S extends SchemaInput>(options: OpenOptions<S>): Promise<Db<S>> {
  engine ??= load(options.wasm).catch((error) => {
    engine = undefined;
    throw error;
  });
  const { schema, space, url, token, user, app = schema.name, trace } = options;
  const owner = { app, user: user ?? ANONYMOUS };
  const server = {
    space,
    url,
    identity: encodeURIComponent(user ?? ''),
    trace,
    ...(token !== undefined && { token: typeof token === 'string' ? () => token : token }),
  };
  const config = {
    ...server,
    schema: JSON.stringify(schema),
    user: encodeURIComponent(owner.user),
    app: encodeURIComponent(app),
  };
  const holding = holdOpen(prefixOf(owner), space);
  // Whether it could be is asked below.
  holding.catch(() => {});
  const session = await engine.catch(async (error) => {
    (await holding)();
    throw error;
  });
  const release = await holding;
  const start = (onPatch: (json: string) => void, onEvent: (json: string) => void) =>
    session.open(config, onPatch, onEvent);
  return Db.over(schema, start, { ...owner, ...server, release }).catch((error) => {
    release();
    throw error;
  });
}
