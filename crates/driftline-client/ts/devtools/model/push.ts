/** What a push carries, and what came of it, read from the bytes of request and answer as the protocol has them. */

import type { OutboxEntry } from '../../status.js';

export interface Pushed {
  readonly key: string;
  /** Keys under which it stood before somebody decided about it. */
  readonly replaces: readonly string[];
  readonly edits: OutboxEntry['edits'];
}

export interface Answered {
  readonly outcome: string;
  readonly rev: number | null;
  /** Of a refusal. */
  readonly code: string | null;
}

type Clients = readonly { readonly id: string }[];
type Key = readonly [client: number, seq: number];

interface PushBody {
  readonly clients?: Clients;
  readonly units?: readonly {
    readonly txns: readonly {
      readonly key: Key;
      readonly replaces?: readonly Key[];
      readonly body: { readonly edits?: OutboxEntry['edits'] };
    }[];
  }[];
}

interface AnswerBody {
  readonly outcomes?: readonly {
    readonly key: Key;
    readonly outcome: string;
    readonly rev?: number;
    readonly problem?: { readonly code?: string };
  }[];
}

/** Larger ones are not looked into: reading them would be felt. */
export const READ_MAX_CHARS = 512 * 1024;

export function readPush(body: string): Pushed[] {
  const { clients = [], units = [] } = parsed<PushBody>(body);
  const txns = units.flatMap(({ txns }) => txns);
  return txns.map(({ key, replaces = [], body: { edits = [] } }) => {
    return { key: keyOf(clients, key), replaces: replaces.map((old) => keyOf(clients, old)), edits };
  });
}

/** By key. The indices of the answer are those of the request's clients. */
export function readAnswer(body: string, answer: string): Map<string, Answered> {
  const { clients = [] } = parsed<PushBody>(body);
  const { outcomes = [] } = parsed<AnswerBody>(answer);
  return new Map(
    outcomes.map(({ key, outcome, rev, problem }) => {
      return [keyOf(clients, key), { outcome, rev: rev ?? null, code: problem?.code ?? null }];
    }),
  );
}

/** The code of a problem (RFC 9457), where an answer is one. */
export function codeOf(answer: string): string | null {
  return parsed<{ readonly code?: string }>(answer).code ?? null;
}

/** A live message: the revisions whose changes it brings, or a pause in seconds; a sign of life has neither. */
export function readLive(text: string): { readonly revs: readonly number[]; readonly pause: number | null } {
  const { changes = [], pause = null } = parsed<{ changes?: readonly { readonly rev: number }[]; pause?: number }>(
    text,
  );
  return { revs: changes.map(({ rev }) => rev), pause };
}

function keyOf(clients: Clients, [client, seq]: Key): string {
  return `${clients[client]?.id ?? client}:${seq}`;
}

/** `{}` for what is no JSON object, or too large. */
function parsed<T extends object>(text: string): Partial<T> {
  if (text.length > READ_MAX_CHARS) return {};
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {};
  }
}
