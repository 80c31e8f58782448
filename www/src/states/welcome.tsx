/** What lies on a canvas that shows nothing: why, and what can be done. */

import { useReactFlow } from '@xyflow/react';
import { FolderOpen, Lock, Sparkles } from 'lucide-react';
import { useRef } from 'react';
import { useFocusBack } from '../canvas/use-focus.js';
import { FILE_TYPES } from '../formats.js';
import { useFiles } from '../images/files.js';
import { useStatus } from '../panel/use-sync.js';
import { canEdit, useAccess } from '../share/access.js';
import { useDatabase } from '../space.js';
import { openedWords, openFile, sayUnread } from '../transfer.js';
import { SAMPLE } from './sample.js';
import { troubleOf } from './trouble.js';
import { useContents } from './use-rows.js';

export function Welcome({ notify }: { notify: (text: string) => void }) {
  const contents = useContents();
  const access = useAccess();
  if (contents === 'some') return null;
  if (contents === 'reading') return <Wait title="Opening the canvas" detail="Reading what this device holds." />;
  if (contents === 'unreadable') return <Unreadable />;
  if (contents === 'fetching')
    return <Wait title="Fetching the canvas" detail="The server is sending what it holds." />;
  return canEdit(access) ? <Empty notify={notify} /> : <Nothing isLocked={access?.role === 'none'} />;
}

/** Shown a moment late, by its style: what is quick needs no word. */
function Wait({ title, detail }: { title: string; detail: string }) {
  return (
    <div className="welcome is-late" data-testid="wait">
      <span className="spinner" aria-hidden />
      <strong>{title}</strong>
      <span>{detail}</span>
    </div>
  );
}

function Unreadable() {
  return (
    <div className="welcome" data-testid="unreadable">
      <strong>What this device holds cannot be read</strong>
      <span>It shows here once the browser lets the page read it. What you make meanwhile is in this tab alone.</span>
    </div>
  );
}

function Nothing({ isLocked }: { isLocked: boolean }) {
  return (
    <div className="welcome" data-testid="nothing">
      {isLocked && <Lock size={28} aria-hidden />}
      <strong>{isLocked ? 'Not open yet' : 'Nothing here yet'}</strong>
      <span>
        {isLocked
          ? 'What is in this space shows here once you have used a link that opens it.'
          : 'Whoever may write puts something on this canvas; it shows here as soon as they do.'}
      </span>
    </div>
  );
}

const isTouched = matchMedia('(pointer: coarse)').matches;
const STEPS = [
  [isTouched ? 'Double-tap' : 'Double-click', 'anywhere to write a card'],
  ['Drag from a dot', 'at a card’s edge to connect it'],
  ['Lose the network', 'and go on: it is all kept, and sent later'],
] as const;

const SAMPLE_FILE = new File([SAMPLE], 'sample.canvas');

function Empty({ notify }: { notify: (text: string) => void }) {
  const db = useDatabase();
  const files = useFiles();
  const flow = useReactFlow();
  const status = useStatus();
  const part = useRef<HTMLDivElement>(null);
  useFocusBack(part);
  const isUnknown = status.rev === 0 && (status.state === 'offline' || troubleOf(status) !== undefined);
  const open = async (file: File) => {
    try {
      const opened = await openFile(db, files, await file.text());
      // Once they are drawn.
      setTimeout(() => flow.fitView({ nodes: opened.ids.map((id) => ({ id })), padding: 0.2, maxZoom: 1 }), 50);
      if (file !== SAMPLE_FILE) notify(openedWords(file.name, opened));
    } catch (error) {
      notify(sayUnread(file, error));
    }
  };
  return (
    <div ref={part} className="welcome" data-testid="welcome">
      <h2>An empty canvas</h2>
      <ul>
        {STEPS.map(([what, why]) => (
          <li key={what}>
            <b>{what}</b> {why}
          </li>
        ))}
      </ul>
      <div className="actions">
        <button type="button" className="button is-primary" data-testid="load-sample" onClick={() => open(SAMPLE_FILE)}>
          <Sparkles size={16} aria-hidden /> Load a sample
        </button>
        <label className="button">
          <FolderOpen size={16} aria-hidden /> Open a file
          <input
            type="file"
            accept={FILE_TYPES}
            className="visually-hidden"
            onChange={({ currentTarget }) => {
              const [file] = currentTarget.files ?? [];
              // The same file may be chosen again.
              currentTarget.value = '';
              if (file) open(file);
            }}
          />
        </label>
      </div>
      {isUnknown && (
        <p className="hint" data-testid="unknown">
          The server cannot be asked just now. If this space holds something already, it appears once it can.
        </p>
      )}
    </div>
  );
}
