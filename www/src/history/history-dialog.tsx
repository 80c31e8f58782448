/** What the canvas was from time to time, and the way back: by new edits, so that this can be taken back in turn. */

import { DriftlineError } from 'driftline';
import { RotateCcw, Save } from 'lucide-react';
import { useCallback, useEffect, useState } from 'react';
import { sayError } from '../panel/codes.js';
import { Dialog } from '../panel/dialog.js';
import { agoWords, momentWords, sizeWords } from '../panel/measures.js';
import { useStatus } from '../panel/use-sync.js';
import { countOf } from '../panel/words.js';
import { isLetIn, useAccess } from '../share/access.js';
import { type Database, useDatabase } from '../space.js';
import { hasRows } from '../states/use-rows.js';
import {
  COMPARED_BYTES_MAX,
  compare,
  type Difference,
  keepVersion,
  listVersions,
  restoreVersion,
  type Version,
} from './versions.js';

export interface HistoryDialogProps {
  readonly space: string;
  readonly notify: (text: string) => void;
  readonly close: () => void;
}

export function HistoryDialog({ space, notify, close }: HistoryDialogProps) {
  const why = useWhyNot();
  const [versions, setVersions] = useState<readonly Version[]>();
  const [problem, setProblem] = useState('');
  const read = useCallback(async () => {
    try {
      setVersions(await listVersions(space));
      setProblem('');
    } catch (error) {
      setProblem(sayError(error));
    }
  }, [space]);
  const isOffline = why.read !== '';
  useEffect(() => {
    if (!isOffline) read();
  }, [isOffline, read]);
  const keep = async () => {
    try {
      await keepVersion(space);
      await read();
    } catch (error) {
      notify(sayError(error));
    }
  };
  const told = why.read || problem;
  return (
    <Dialog title="History" testId="history-dialog" close={close}>
      <p className="hint">
        The server keeps a version every ten minutes while the canvas changes, and whenever you ask for one. Going back
        makes new edits: what is there now is kept as a version first.
      </p>
      {told && (
        <p className="callout" role="status" data-testid="history-problem">
          {told}
        </p>
      )}
      {!told && versions?.length === 0 && (
        <p className="callout" data-testid="no-versions">
          No version has been kept yet.
        </p>
      )}
      <ol className="rows" aria-label="Versions, the newest first">
        {!isOffline &&
          versions?.map((version) => (
            <VersionRow
              key={version.rev}
              version={version}
              space={space}
              whyNot={why.write}
              notify={notify}
              close={close}
            />
          ))}
      </ol>
      <footer className="dialog-foot">
        <p className="hint">{why.write}</p>
        <button type="button" className="button" data-testid="keep-version" disabled={why.write !== ''} onClick={keep}>
          <Save size={16} aria-hidden /> Keep a version now
        </button>
      </footer>
    </Dialog>
  );
}

/** Why versions cannot be read, or gone back to, just now; empty where they can. */
function useWhyNot(): { read: string; write: string } {
  const status = useStatus();
  const access = useAccess();
  if (status.state === 'offline') {
    const read = 'The versions are on the server, and you are offline. They are here again once there is a network.';
    return { read, write: 'Not possible offline.' };
  }
  if (!isLetIn(access)) return { read: 'The server shows versions only with a link to this space.', write: '' };
  return { read: '', write: access?.role === 'read' ? 'Your link is for reading: you cannot go back.' : '' };
}

interface VersionRowProps {
  readonly version: Version;
  readonly space: string;
  readonly whyNot: string;
  readonly notify: (text: string) => void;
  readonly close: () => void;
}

function VersionRow({ version, space, whyNot, notify, close }: VersionRowProps) {
  const db = useDatabase();
  const { rev, at_s, rows, bytes } = version;
  const [difference, setDifference] = useState<Difference | 'reading'>();
  const [isBusy, setIsBusy] = useState(false);
  const look = async () => {
    setDifference('reading');
    try {
      setDifference(await compare(db, space, rev));
    } catch (error) {
      setDifference(undefined);
      notify(sayError(error));
    }
  };
  const restore = async () => {
    setIsBusy(true);
    try {
      await keepFirst(db, space);
      const edits = await restoreVersion(space, rev);
      notify(
        edits > 0 ? `Back at ${momentWords(at_s * 1000)}, by ${countOf(edits, 'edit')}.` : 'It is as it was then.',
      );
      close();
    } catch (error) {
      notify(sayError(error));
      setIsBusy(false);
    }
  };
  return (
    <li className="row" data-testid="version" data-rev={rev}>
      <div>
        <strong>
          <time dateTime={new Date(at_s * 1000).toISOString()}>{momentWords(at_s * 1000)}</time>
        </strong>
        <small>
          {agoWords(at_s * 1000)} · {countOf(rows, 'row')} · {sizeWords(bytes)} · revision {rev}
        </small>
        <small role="status" data-testid="difference">
          {difference === 'reading' ? 'Comparing…' : difference && differenceWords(difference)}
        </small>
      </div>
      {bytes <= COMPARED_BYTES_MAX && (
        <button type="button" className="text-button" data-testid="compare" onClick={look}>
          Compare
        </button>
      )}
      <button
        type="button"
        className="button"
        data-testid="restore"
        aria-label={`Go back to ${momentWords(at_s * 1000)}`}
        disabled={whyNot !== '' || isBusy}
        onClick={restore}
      >
        <RotateCcw size={16} aria-hidden /> {isBusy ? 'Going back…' : 'Go back'}
      </button>
    </li>
  );
}

/** An empty canvas has nothing to keep. One that is too large would be lost. */
async function keepFirst(db: Database, space: string): Promise<void> {
  try {
    await keepVersion(space);
  } catch (error) {
    if (!(error instanceof DriftlineError) || error.code !== 'no_version') throw error;
    if (hasRows(db)) throw new DriftlineError({ code: 'not_kept', detail: '' });
  }
}

function differenceWords({ comeBack, go, change }: Difference): string {
  const parts = [
    change > 0 && `${change} would change`,
    comeBack > 0 && `${comeBack} would come back`,
    go > 0 && `${go} would go`,
  ].filter(Boolean);
  const total = comeBack + go + change;
  return total === 0 ? 'The same as now' : `${countOf(total, 'row differs', 'rows differ')}: ${parts.join(', ')}`;
}
