/** What has not reached the server yet, in the order in which it goes, and what the server would not take. */

import type { OutboxEntry } from 'driftline';
import { type Database, useDatabase } from '../space.js';
import { Device } from './device.js';
import { FilesSection } from './files.js';
import { GiveUp, type GivingUp, groupGoing, useGivingUp } from './give-up.js';
import type { TabProps } from './panel.js';
import { Parked } from './parked.js';
import { Simulated } from './simulated.js';
import { useOutbox, useStatus } from './use-sync.js';
import { describe, rowName, STATE_WORDS, statusSentence } from './words.js';

/** More than anyone reads; the number of the others is told. */
const SHOWN_MAX = 100;

/** What changes with each edit are parts of their own: the rest is not drawn anew with them. */
export function SyncTab({ space, notify, showSpaces }: TabProps) {
  return (
    <>
      <Simulated />
      <Status />
      <Entries notify={notify} />
      <Device space={space} notify={notify} showSpaces={showSpaces} />
    </>
  );
}

function Status() {
  const status = useStatus();
  return (
    <section aria-labelledby="status-title">
      <h2 id="status-title">Status</h2>
      <p className="sentence">{statusSentence(status)}</p>
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
  );
}

function Entries({ notify }: { notify: (text: string) => void }) {
  const entries = useOutbox(useDatabase());
  const { ask, question } = useGivingUp(notify);
  const isParked = (entry: OutboxEntry) => entry.state === 'parked' || entry.state === 'suspended';
  const parked = entries.filter(isParked);
  const waiting = entries.filter((entry) => !isParked(entry));
  return (
    <>
      {parked.length > 0 && (
        <section aria-labelledby="parked-title">
          <h2 id="parked-title">Held back · {parked.length}</h2>
          <ul className="entries">
            {parked.slice(0, SHOWN_MAX).map((entry) => (
              <Parked key={entry.key} entry={entry} notify={notify} ask={ask} />
            ))}
          </ul>
          {parked.length > SHOWN_MAX && <p className="hint">and {parked.length - SHOWN_MAX} more</p>}
        </section>
      )}

      <FilesSection notify={notify} />
      <Outbox waiting={waiting} hasParked={parked.length > 0} ask={ask} />
      {question}
    </>
  );
}

interface OutboxProps {
  readonly waiting: readonly OutboxEntry[];
  readonly hasParked: boolean;
  readonly ask: (givingUp: GivingUp) => void;
}

function Outbox({ waiting, hasParked, ask }: OutboxProps) {
  const db = useDatabase();
  const places = new Map(waiting.map((entry, index) => [entry.key, index + 1]));
  return (
    <section aria-labelledby="outbox-title">
      <h2 id="outbox-title">Outbox · {waiting.length}</h2>
      {waiting.length === 0 && (
        <p className="hint">{hasParked ? 'Nothing else waits.' : 'Nothing waits on this device.'}</p>
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
              <GiveUp
                testId="discard-waiting"
                className="text-button"
                what={() => groupGoing(db, entry.key)}
                act={() => db.discard(entry.key, { dependents: true })}
                ask={ask}
              />
            )}
          </li>
        ))}
      </ol>
      {waiting.length > SHOWN_MAX && <p className="hint">and {waiting.length - SHOWN_MAX} more</p>}
    </section>
  );
}

function after(db: Database, entry: OutboxEntry, places: ReadonlyMap<string, number>): string {
  const names = entry.waits_on.map((awaited) => {
    const [table, id] = awaited.split(' ');
    if (table === 'image' && id) return 'its picture, which has to arrive first';
    if (table && id) return `${rowName(db, { table, id })}, which has not come yet`;
    return places.has(awaited) ? `№ ${places.get(awaited)}` : 'one held back';
  });
  return [...new Set(names)].slice(0, 3).join(', ') + (names.length > 3 ? ' …' : '');
}
