import type { OutboxEntry } from 'driftline';
import { useDatabase } from '../space.js';
import { describe, rowName } from './words.js';

/** A transaction that cannot go on by itself: why, and what the person can do about it. */
export function Parked({ entry, notify }: { entry: OutboxEntry; notify: (text: string) => void }) {
  const db = useDatabase();
  const { problem } = entry;
  const attempt = (act: () => void) => {
    try {
      act();
    } catch (error) {
      notify(error instanceof Error ? error.message : String(error));
    }
  };
  return (
    <li className="entry is-parked" data-testid="parked-entry" data-key={entry.key} data-code={problem?.code}>
      <div>
        <p>{describe(db, entry)}</p>
        {problem && (
          <p className="problem">
            {problem.detail || problem.title} <code>{problem.code}</code>
          </p>
        )}
        {problem?.rows?.slice(0, 3).map((row) => (
          <small key={row.id}>{rowName(db, row)}</small>
        ))}
        <div className="actions">
          <button
            type="button"
            className="button"
            data-testid="retry"
            onClick={() => attempt(() => db.retry(entry.key))}
          >
            Retry
          </button>
          <button
            type="button"
            className="button"
            data-testid="discard"
            title="Gives this change up, and those that cannot do without it"
            onClick={() => attempt(() => db.discard(entry.key, { dependents: true }))}
          >
            Discard
          </button>
        </div>
      </div>
    </li>
  );
}
