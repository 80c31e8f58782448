/** What has not reached the server yet, in the order in which it goes, and what the server would not take. */

import type { OutboxEntry } from 'driftline';
import { type Database, useDatabase } from '../space.js';
import { Device } from './device.js';
import { Parked } from './parked.js';
import { useOutbox, useStatus } from './use-sync.js';
import { describe, rowName, STATE_WORDS } from './words.js';

/** More than anyone reads; the number of the others is told. */
const SHOWN_MAX = 100;

export function SyncPanel({ space, notify }: { space: string; notify: (text: string) => void }) {
  const db = useDatabase();
  const status = useStatus(db);
  const entries = useOutbox(db);
  const isParked = (entry: OutboxEntry) => entry.state === 'parked' || entry.state === 'suspended';
  const parked = entries.filter(isParked);
  const waiting = entries.filter((entry) => !isParked(entry));
  const places = new Map(waiting.map((entry, index) => [entry.key, index + 1]));

  return (
    <aside className="panel" aria-label="Sync" data-testid="outbox-panel">
      <section>
        <h2>Status</h2>
        <dl className="facts">
          <dt>Waiting</dt>
          <dd>{status.queued}</dd>
          <dt>On the way</dt>
          <dd>{status.in_flight}</dd>
          <dt>Held back</dt>
          <dd>{status.parked}</dd>
          <dt>Revision</dt>
          <dd>{status.rev}</dd>
        </dl>
        <code data-testid="status-line">{status.line}</code>
      </section>

      {parked.length > 0 && (
        <section>
          <h2>Held back · {parked.length}</h2>
          <ul className="entries">
            {parked.slice(0, SHOWN_MAX).map((entry) => (
              <Parked key={entry.key} entry={entry} notify={notify} />
            ))}
          </ul>
        </section>
      )}

      <section>
        <h2>Outbox · {waiting.length}</h2>
        {waiting.length === 0 && (
          <p className="hint">
            {parked.length === 0 ? 'Nothing waits. Every change is on the server.' : 'Nothing else waits.'}
          </p>
        )}
        <ol className="entries" data-testid="outbox">
          {waiting.slice(0, SHOWN_MAX).map((entry, index) => (
            <li
              key={entry.key}
              className="entry"
              data-testid="outbox-entry"
              data-key={entry.key}
              data-state={entry.state}
            >
              <span className="place">{index + 1}</span>
              <div>
                <p>{describe(db, entry)}</p>
                {entry.waits_on.length > 0 && <small>after {after(db, entry, places)}</small>}
              </div>
              <span className={`chip chip-${entry.state}`}>{STATE_WORDS[entry.state]}</span>
              {entry.state === 'waiting' && (
                <button
                  type="button"
                  className="text-button"
                  data-testid="discard-waiting"
                  onClick={() => db.discard(entry.key, { dependents: true })}
                >
                  Discard
                </button>
              )}
            </li>
          ))}
        </ol>
        {waiting.length > SHOWN_MAX && <p className="hint">and {waiting.length - SHOWN_MAX} more</p>}
      </section>

      <Device space={space} notify={notify} />
    </aside>
  );
}

function after(db: Database, entry: OutboxEntry, places: ReadonlyMap<string, number>): string {
  const names = entry.waits_on.map((awaited) => {
    const [table, id] = awaited.split(' ');
    if (table && id) return `${rowName(db, { table, id })}, which has not come yet`;
    return places.has(awaited) ? `№ ${places.get(awaited)}` : 'one held back';
  });
  return [...new Set(names)].slice(0, 3).join(', ') + (names.length > 3 ? ' …' : '');
}
