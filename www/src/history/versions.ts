/** The versions of a space that the server keeps, and how one differs from what is on screen. */

import { DriftlineError, type Json } from 'driftline';
import { headersFor } from '../share/pass.js';
import type { Database } from '../space.js';

export interface Version {
  readonly rev: number;
  readonly at_s: number;
  readonly rows: number;
  /** Compressed. */
  readonly bytes: number;
}

/** What going back would do to the rows. */
export interface Difference {
  readonly comeBack: number;
  readonly go: number;
  readonly change: number;
}

/** A version that is larger than this, compressed, is not fetched just to be looked at. */
export const COMPARED_BYTES_MAX = 4_000_000;

const noAnswer = () => new DriftlineError({ code: 'no_answer', detail: 'The server does not answer. Try again.' });

/** What an answer holds, unless it breaks off on its way. */
const whole = <T>(reading: Promise<T>): Promise<T> =>
  reading.catch(() => {
    throw noAnswer();
  });

async function ask(space: string, path: string, method: 'GET' | 'POST' = 'GET'): Promise<Response> {
  const request = { method, headers: headersFor(space) };
  const answer = await fetch(`/v1/spaces/${space}/versions${path}`, request).catch(() => undefined);
  if (!answer) throw noAnswer();
  if (answer.ok) return answer;
  const { code = 'unavailable', detail = '' } = await answer.json().catch(() => ({}));
  throw new DriftlineError({ code, detail });
}

export async function listVersions(space: string): Promise<Version[]> {
  const { versions } = await whole((await ask(space, '')).json());
  return versions;
}

export async function keepVersion(space: string): Promise<void> {
  await ask(space, '', 'POST');
}

/** Goes back, by edits like any other: they arrive as everybody's do. Returns how many. */
export async function restoreVersion(space: string, rev: number): Promise<number> {
  const { edits } = await whole((await ask(space, `/${rev}/restore`, 'POST')).json());
  return edits;
}

export async function compare(db: Database, space: string, rev: number): Promise<Difference> {
  const then = readSnapshot(await whole((await ask(space, `/${rev}`)).text()));
  const now = new Map<string, Row>();
  for (const [table, rows] of Object.entries(db.tables)) {
    for (const row of rows.query()) now.set(`${table} ${row.id}`, row as unknown as Row);
  }
  let [comeBack, change] = [0, 0];
  for (const [name, row] of then) {
    const present = now.get(name);
    if (!present) comeBack += 1;
    else if (Object.keys(row).some((column) => canonical(row[column]) !== canonical(present[column]))) change += 1;
  }
  const go = [...now.keys()].filter((name) => !then.has(name)).length;
  return { comeBack, go, change };
}

type Row = Readonly<Record<string, Json | undefined>>;

/** The rows of a snapshot, by table and id. One without its last line broke off on the way. */
function readSnapshot(text: string): Map<string, Row> {
  const lines = text.trim().split('\n');
  const rows = new Map<string, Row>();
  if (!lines.at(-1)?.includes('"end"')) {
    throw new DriftlineError({ code: 'incomplete', detail: 'The version broke off on its way. Try again.' });
  }
  for (const line of lines.slice(1, -1)) {
    const { table, columns, rows: part } = JSON.parse(line) as { table: string; columns: string[]; rows: Json[][] };
    for (const [id, ...values] of part) {
      rows.set(`${table} ${id}`, Object.fromEntries(columns.map((column, index) => [column, values[index]])));
    }
  }
  return rows;
}

/** Members of an object in one order, whoever wrote it. */
function canonical(value: Json | undefined): string {
  if (value === null || typeof value !== 'object') return JSON.stringify(value ?? null);
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join()}}`;
}
