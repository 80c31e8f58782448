/** Giving up something held on this device alone: the button, and the question that comes first and tells how much goes. */

import { useState } from 'react';
import type { Database } from '../space.js';
import { sayError } from './codes.js';
import { Ask } from './dialog.js';
import { countOf } from './words.js';

/** What would be given up, and how. */
export interface GivingUp {
  /** Says what goes, as it is just now; `undefined` where that has gone on by itself. */
  readonly what: () => Going | undefined;
  readonly act: () => void | Promise<void>;
}

export interface Going {
  /** As in `Give up 3 changes`. */
  readonly name: string;
  readonly detail: string;
}

export interface GiveUpProps extends GivingUp {
  readonly testId: string;
  readonly title?: string;
  readonly className?: string;
  readonly ask: (givingUp: GivingUp) => void;
}

export function GiveUp({ testId, title, className = 'button', ask, ...givingUp }: GiveUpProps) {
  return (
    <button type="button" className={className} data-testid={testId} title={title} onClick={() => ask(givingUp)}>
      Discard…
    </button>
  );
}

/** The question stands beside the list that it is about: the entry may go on while somebody reads it. */
export function useGivingUp(notify: (text: string) => void) {
  const [givingUp, ask] = useState<GivingUp>();
  const close = () => ask(undefined);
  const going = givingUp?.what();
  const question = givingUp && (
    <Ask
      title={going ? `Give up ${going.name}?` : 'It has gone on'}
      {...(going
        ? {
            action: `Give up ${going.name}`,
            act: () => attempt(givingUp.act, notify),
          }
        : { keep: 'All right' })}
      close={close}
    >
      <p>{going?.detail ?? 'It no longer waits here: there is nothing left to give up.'}</p>
    </Ask>
  );
  return { ask, question };
}

async function attempt(act: GivingUp['act'], notify: (text: string) => void): Promise<void> {
  try {
    await act();
  } catch (error) {
    notify(sayError(error));
  }
}

/** A transaction, and those that cannot do without it. */
export function groupGoing(db: Database, key: string): Going | undefined {
  const count = groupSize(db, key);
  if (count === 0) return undefined;
  const others = count - 1;
  const name = others > 0 ? countOf(count, 'change') : 'this change';
  const along = others > 0 ? `${others === 1 ? 'One change' : `${others} changes`} cannot do without it. ` : '';
  const [they, are] = others > 0 ? ['They', 'are'] : ['It', 'is'];
  return { name, detail: `${along}${they} ${are} on this device alone, and once given up cannot be brought back.` };
}

/** None where it no longer waits. */
function groupSize(db: Database, key: string): number {
  try {
    return JSON.parse(db.export(key, { dependents: true })).transactions.length;
  } catch {
    return 0;
  }
}
