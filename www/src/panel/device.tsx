/** What this device holds: a way out for work that cannot be sent, a way in for a file of it, and the spaces. */

import { DriftlineError, deleteSpace } from 'driftline';
import { addressOf, owner, useDatabase, useSpaces } from '../space.js';
import { saveFile } from './save-file.js';
import { useStatus } from './use-sync.js';

export function Device({ space, notify }: { space: string; notify: (text: string) => void }) {
  const db = useDatabase();
  const status = useStatus(db);
  const [spaces, readSpaces] = useSpaces();
  const attempt = (act: () => Promise<void>) => {
    act().catch((error) => notify(error instanceof Error ? error.message : String(error)));
  };
  const exportWork = async () => {
    const { text, leftOut } = await db.exportUnsynced();
    saveFile(`${space}-unsynced.json`, text);
    if (leftOut > 0)
      notify(`${leftOut} changes of another tab are not in the file: bring it to the front, and export again.`);
  };
  const importWork = async (file: File) => {
    const { imported, known } = await db.importUnsynced(await file.text());
    notify(`${imported} changes taken from the file${known > 0 ? `, ${known} were here already` : ''}.`);
  };
  const remove = async (name: string) => {
    try {
      await deleteSpace(name, owner);
    } catch (error) {
      const mayLose = error instanceof DriftlineError && error.code === 'unsynced';
      if (!mayLose) throw error;
      if (!confirm(`${error.detail} Give it up?`)) return;
      await deleteSpace(name, { ...owner, discard: true });
    }
    readSpaces();
  };
  return (
    <section>
      <h2>This device</h2>
      <div className="actions">
        <button
          type="button"
          className="button"
          data-testid="export-unsynced"
          title="Saves everything that is not on the server to a file"
          disabled={status.queued + status.in_flight + status.parked === 0}
          onClick={() => attempt(exportWork)}
        >
          Export what waits
        </button>
        <label className="button">
          Import
          <input
            type="file"
            accept=".json,application/json"
            hidden
            data-testid="import-unsynced"
            onChange={(event) => {
              const [file] = event.target.files ?? [];
              if (file) attempt(() => importWork(file));
              event.target.value = '';
            }}
          />
        </label>
      </div>
      <ul className="entries" data-testid="spaces">
        {spaces.map(({ name, unsynced, isOpen }) => (
          <li key={name} className="entry" data-testid="space-entry" data-space={name}>
            <div>
              <a href={addressOf(name)}>{name}</a>
              {unsynced > 0 && name !== space && <small>{unsynced} not sent</small>}
            </div>
            {!isOpen && (
              <button
                type="button"
                className="text-button"
                data-testid="delete-space"
                title="From this device: what the server has stays there"
                onClick={() => attempt(() => remove(name))}
              >
                Delete
              </button>
            )}
          </li>
        ))}
      </ul>
    </section>
  );
}
