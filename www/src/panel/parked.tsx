import type { OutboxEntry } from 'driftline';
import { type Database, useDatabase } from '../space.js';
import { sayError } from './codes.js';
import { saveFile } from './save-file.js';
import { describe, rowName } from './words.js';

const exported = (db: Database, entry: OutboxEntry) => db.export(entry.key, { dependents: true });

/** A transaction that cannot go on by itself: why, and what the person can do about it. */
export function Parked({ entry, notify }: { entry: OutboxEntry; notify: (text: string) => void }) {
  const db = useDatabase();
  const { problem } = entry;
  const waiting = entry.dependents?.length ?? 0;
  const attempt = (act: () => void) => {
    try {
      act();
    } catch (error) {
      notify(sayError(error));
    }
  };
  return (
    <li className="entry is-parked" data-testid="parked-entry" data-key={entry.key} data-code={problem?.code}>
      <div>
        <p>{describe(db, entry)}</p>
        {problem && (
          <p className="problem">
            {sayError(problem)} <code>{problem.code}</code>
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
          {waiting > 0 && (
            <button
              type="button"
              className="button"
              data-testid="detach"
              title="What waits on this no longer refers to it, and goes on its own"
              onClick={() => attempt(() => db.detach(entry.key))}
            >
              Free {waiting} waiting
            </button>
          )}
          <button
            type="button"
            className="button"
            data-testid="export"
            title="Saves this change, and what waits on it, to a file"
            onClick={() => attempt(() => saveFile(`change-${entry.key.replace(':', '-')}.json`, exported(db, entry)))}
          >
            Export
          </button>
        </div>
      </div>
    </li>
  );
}
