/** The pictures that the server does not have: how many are on their way, and those that it would not take. */

import type { ParkedBlob } from 'driftline/blobs';
import { titleOf } from '../edits.js';
import { cardsOf } from '../images/described.js';
import { type Files, type SyncStatus, useFiles } from '../images/files.js';
import { useDatabase } from '../space.js';
import { sayError } from './codes.js';
import { GiveUp, type GivingUp, type Going, useGivingUp } from './give-up.js';
import { sizeWords } from './measures.js';
import { useStatus } from './use-sync.js';
import { countOf, untilSent } from './words.js';

export function FilesSection({ notify }: { notify: (text: string) => void }) {
  const files = useFiles();
  const status = useStatus();
  const { ask, question } = useGivingUp(notify);
  const { waiting, parked } = status.files;
  if (waiting + parked === 0) return question;
  return (
    <section aria-labelledby="files-title" data-testid="files">
      <h2 id="files-title">Pictures · {waiting + parked}</h2>
      {waiting > 0 && (
        <p className="sentence" data-testid="files-waiting">
          {waitingSentence(status)}
        </p>
      )}
      {parked > 0 && (
        <ul className="entries">
          {files.parked().map((blob) => (
            <ParkedPicture key={blob.hash} blob={blob} notify={notify} ask={ask} />
          ))}
        </ul>
      )}
      {question}
    </section>
  );
}

function waitingSentence(status: SyncStatus): string {
  const { state, reason, waiting, bytes } = status.files;
  const what = `${countOf(waiting, 'picture')}, ${sizeWords(bytes)},`;
  const verb = waiting === 1 ? 'is' : 'are';
  if (state === 'offline') return `${what} ${verb} kept on this device and sent once ${untilSent(status)}.`;
  if (state === 'not_saving') return `${what} ${verb} kept on this device. ${sayError({ code: reason })}`;
  return `${what} ${verb} on the way to the server. The cards that show ${waiting === 1 ? 'it' : 'them'} follow.`;
}

interface ParkedPictureProps {
  readonly blob: ParkedBlob;
  readonly notify: (text: string) => void;
  readonly ask: (givingUp: GivingUp) => void;
}

function ParkedPicture({ blob, notify, ask }: ParkedPictureProps) {
  const db = useDatabase();
  const files = useFiles();
  const [card] = cardsOf(db, blob.hash);
  const attempt = (act: Promise<void>) => act.catch((error) => notify(sayError(error)));
  return (
    <li className="entry is-parked" data-testid="parked-file" data-hash={blob.hash} data-code={blob.problem.code}>
      <div>
        <p>
          Send {card ? `picture “${titleOf(card).slice(0, 40)}”` : 'a picture'}, {sizeWords(blob.bytes)}
        </p>
        <p className="problem">
          {sayError(blob.problem)} <code>{blob.problem.code}</code>
        </p>
        <div className="actions">
          <button
            type="button"
            className="button"
            data-testid="retry-file"
            onClick={() => attempt(files.retry(blob.hash))}
          >
            Retry
          </button>
          <GiveUp
            testId="discard-file"
            title="Gives the picture up. Its card stays, with its words"
            what={() => (isParked(files, blob) ? pictureGoing(cardsOf(db, blob.hash).length) : undefined)}
            act={() => files.discard(blob.hash)}
            ask={ask}
          />
        </div>
      </div>
    </li>
  );
}

const isParked = (files: Files, { hash }: ParkedBlob) => files.parked().some((one) => one.hash === hash);

function pictureGoing(cards: number): Going {
  const shown =
    cards === 1 ? ' Its card stays, with its words.' : ` ${cards} cards show it, and stay with their words.`;
  const lost = 'It is on this device alone, and once given up cannot be brought back.';
  return { name: 'this picture', detail: cards > 0 ? lost + shown : lost };
}
