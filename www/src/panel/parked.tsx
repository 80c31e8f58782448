import type { OutboxEntry } from 'driftline';
import { useMemo, useState } from 'react';
import { type Database, useDatabase } from '../space.js';
import { draftOf } from './amend.js';
import { Change } from './change.js';
import { sayError } from './codes.js';
import { GiveUp, type GivingUp, groupGoing } from './give-up.js';
import { saveFile } from './save-file.js';
import { describe, rowName } from './words.js';

const exported = (db: Database, entry: OutboxEntry) => db.export(entry.key, { dependents: true });

export interface ParkedProps {
  readonly entry: OutboxEntry;
  readonly notify: (text: string) => void;
  readonly ask: (givingUp: GivingUp) => void;
}

/** A transaction that cannot go on by itself: why, and what the person can do about it. */
export function Parked({ entry, notify, ask }: ParkedProps) {
  const db = useDatabase();
  const { key, problem } = entry;
  const draft = useMemo(() => draftOf(db, key), [db, key]);
  const [isChanging, setIsChanging] = useState(false);
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
          {draft && (
            <button
              type="button"
              className="button"
              data-testid="change-parked"
              aria-expanded={isChanging}
              title="Writes it anew, and sends it again"
              onClick={() => setIsChanging(!isChanging)}
            >
              Change…
            </button>
          )}
          <GiveUp
            testId="discard"
            title="Gives this change up, and those that cannot do without it"
            what={() => groupGoing(db, entry.key)}
            act={() => db.discard(entry.key, { dependents: true })}
            ask={ask}
          />
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
        {draft && isChanging && <Change draft={draft} close={() => setIsChanging(false)} />}
      </div>
    </li>
  );
}
