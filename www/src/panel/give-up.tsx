/** The button that gives up something held on this device alone. It asks first, and tells how much goes. */

import { useState } from 'react';
import type { Database } from '../space.js';
import { sayError } from './codes.js';
import { Ask } from './dialog.js';
import { countOf } from './words.js';

export interface GiveUpProps {
  readonly testId: string;
  readonly title?: string;
  readonly className?: string;
  /** Says what goes, just now. Not asked where it throws. */
  readonly what: () => Going;
  readonly act: () => void | Promise<void>;
  readonly notify: (text: string) => void;
}

export interface Going {
  /** As in `Give up 3 changes`. */
  readonly name: string;
  readonly detail: string;
}

export function GiveUp({ testId, title, className = 'button', what, act, notify }: GiveUpProps) {
  const [going, setGoing] = useState<Going>();
  const attempt = async (step: () => void | Promise<void>) => {
    try {
      await step();
    } catch (error) {
      notify(sayError(error));
    }
  };
  return (
    <>
      <button
        type="button"
        className={className}
        data-testid={testId}
        title={title}
        onClick={() => attempt(() => setGoing(what()))}
      >
        Discard…
      </button>
      {going && (
        <Ask
          title={`Give up ${going.name}?`}
          action={`Give up ${going.name}`}
          act={() => attempt(act)}
          close={() => setGoing(undefined)}
        >
          <p>{going.detail}</p>
        </Ask>
      )}
    </>
  );
}

/** A transaction, and those that cannot do without it. */
export function groupGoing(db: Database, key: string): Going {
  const { transactions } = JSON.parse(db.export(key, { dependents: true })) as { transactions: readonly unknown[] };
  const others = transactions.length - 1;
  const name = others > 0 ? countOf(transactions.length, 'change') : 'this change';
  const along = others > 0 ? `${others === 1 ? 'One change' : `${others} changes`} cannot do without it. ` : '';
  const [they, are] = others > 0 ? ['They', 'are'] : ['It', 'is'];
  return { name, detail: `${along}${they} ${are} on this device alone, and once given up cannot be brought back.` };
}
