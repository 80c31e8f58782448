/** What this device holds: a way out for work that cannot be sent, a way in for a file of it, and the spaces. */

import { useFiles } from '../images/files.js';
import { addressOf, useDatabase } from '../space.js';
import { DeleteSpace } from '../spaces/delete-space.js';
import { canOpen, useSpaces } from '../spaces/use-spaces.js';
import { sayError } from './codes.js';
import { exportUnsent } from './export.js';
import { useStatusPart } from './use-sync.js';
import { countOf } from './words.js';

/** The dialog has the others. */
const SHOWN_MAX = 5;

export interface DeviceProps {
  readonly space: string;
  readonly notify: (text: string) => void;
  readonly showSpaces: () => void;
}

export function Device({ space, notify, showSpaces }: DeviceProps) {
  const db = useDatabase();
  const files = useFiles();
  const hasWaiting = useStatusPart(({ queued, in_flight, parked }) => queued + in_flight + parked > 0);
  const [{ list: spaces }, readSpaces] = useSpaces();
  const importWork = async (file: File) => {
    try {
      const { imported, known, unreadable } = await db.importUnsynced(await file.text());
      const here = known > 0 ? `, ${known} were here already` : '';
      const lost = unreadable > 0 ? ` Left out: ${countOf(unreadable, 'change')} that cannot be read.` : '';
      notify(`${countOf(imported, 'change')} taken from the file${here}.${lost}`);
    } catch (error) {
      notify(sayError(error));
    }
  };
  return (
    <section aria-labelledby="device-title">
      <h2 id="device-title">This device</h2>
      <div className="actions">
        <button
          type="button"
          className="button"
          data-testid="export-unsynced"
          title="Saves everything that is not on the server to a file"
          disabled={!hasWaiting}
          onClick={() => exportUnsent(db, files, notify)}
        >
          Export what waits
        </button>
        <label className="button">
          Import
          <input
            type="file"
            accept=".json,application/json"
            className="visually-hidden"
            data-testid="import-unsynced"
            onChange={(event) => {
              const [file] = event.target.files ?? [];
              if (file) importWork(file);
              event.target.value = '';
            }}
          />
        </label>
      </div>
      <ul className="entries" data-testid="spaces">
        {spaces.slice(0, SHOWN_MAX).map((held) => (
          <li
            key={`${held.user ?? ''} ${held.name}`}
            className="entry"
            data-testid="space-entry"
            data-space={held.name}
          >
            <div>
              {canOpen(held) ? <a href={addressOf(held.name)}>{held.name}</a> : held.name}
              {held.unsynced > 0 && held.name !== space && <small>{held.unsynced} not sent</small>}
            </div>
            {!held.isOpen && <DeleteSpace space={held} testId="delete-space" notify={notify} deleted={readSpaces} />}
          </li>
        ))}
      </ul>
      <button type="button" className="text-button is-wide" data-testid="all-spaces" onClick={showSpaces}>
        {spaces.length > SHOWN_MAX ? `All ${spaces.length} spaces…` : 'Make or open a space…'}
      </button>
    </section>
  );
}
