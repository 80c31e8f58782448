import { ReactFlowProvider } from '@xyflow/react';
import { X } from 'lucide-react';
import { useCallback, useEffect, useState } from 'react';
import { Canvas } from './canvas/canvas.js';
import { HistoryDialog } from './history/history-dialog.js';
import { sayError } from './panel/codes.js';
import { Panel } from './panel/panel.js';
import { useStatusPart } from './panel/use-sync.js';
import { PeopleOverlay } from './people/overlay.js';
import { PeopleProvider } from './people/people.js';
import { PeopleDialog } from './people/people-dialog.js';
import { useAccessStore, useCanEdit } from './share/access.js';
import { ShareDialog } from './share/share-dialog.js';
import { useDatabase } from './space.js';
import { SpacesDialog } from './spaces/spaces-dialog.js';
import { Banner } from './states/banner.js';
import { StatusRegion } from './states/status-region.js';
import { useLeaving } from './states/use-leaving.js';
import { Welcome } from './states/welcome.js';
import { type Shown, TopBar } from './topbar.js';
import { listenForUndo } from './undo.js';

const NOTICE_MS = 8_000;
const REFUSALS: ReadonlySet<string> = new Set(['unauthenticated', 'forbidden', 'wrong_user']);
/** On less the panel would cover the canvas: it is opened when asked for. */
const ROOM_FOR_PANEL = '(min-width: 721px)';

export function App({ space }: { space: string }) {
  const canEdit = useCanEdit();
  const [isPanelOpen, setIsPanelOpen] = useState(() => matchMedia(ROOM_FOR_PANEL).matches);
  const [shown, setShown] = useState<Shown>();
  const { notice, notify, dismiss } = useNotices();
  useAccessQuestions();
  useLeaving();
  const close = useCallback(() => setShown(undefined), []);
  const closePanel = useCallback(() => setIsPanelOpen(false), []);
  const props = { space, notify };

  return (
    <PeopleProvider>
      <div className="app" data-read-only={canEdit ? undefined : ''}>
        <a className="skip-link" href="#canvas">
          Go to the canvas
        </a>
        <TopBar {...props} show={setShown} isPanelOpen={isPanelOpen} togglePanel={() => setIsPanelOpen(!isPanelOpen)} />
        <Banner notify={notify} showPanel={() => setIsPanelOpen(true)} showLink={() => setShown('share')} />
        <div className="stage">
          <ReactFlowProvider>
            <div className="frame" id="canvas" tabIndex={-1}>
              <Canvas {...props} />
              <PeopleOverlay />
              <Welcome notify={notify} />
            </div>
          </ReactFlowProvider>
          {isPanelOpen && <Panel {...props} showSpaces={() => setShown('spaces')} close={closePanel} />}
        </div>
        <StatusRegion />
        <div className="notices" role="status" data-testid="notice">
          {notice && (
            <div className="notice">
              <span>{notice}</span>
              <button type="button" className="icon-button" aria-label="Dismiss" onClick={dismiss}>
                <X size={16} aria-hidden />
              </button>
            </div>
          )}
        </div>
      </div>
      {shown === 'spaces' && <SpacesDialog {...props} close={close} />}
      {shown === 'people' && <PeopleDialog close={close} />}
      {shown === 'share' && <ShareDialog {...props} close={close} />}
      {shown === 'history' && <HistoryDialog {...props} close={close} />}
    </PeopleProvider>
  );
}

/** One sentence at a time, for a while: what the engine tells, and what the app has to say. */
function useNotices() {
  const db = useDatabase();
  const [notice, setNotice] = useState<{ text: string } | null>(null);
  const notify = useCallback((text: string) => setNotice({ text }), []);
  useEffect(() => db.onError((error) => notify(sayError(error))), [db, notify]);
  useEffect(() => db.onNotice(({ problem }) => notify(sayError(problem))), [db, notify]);
  useEffect(() => listenForUndo(db, notify), [db, notify]);
  useEffect(() => {
    if (!notice) return;
    const timer = setTimeout(() => setNotice(null), NOTICE_MS);
    return () => clearTimeout(timer);
  }, [notice]);
  return { notice: notice?.text, notify, dismiss: () => setNotice(null) };
}

/** Asks what this person may do: at first, and whenever the answer may be another. */
function useAccessQuestions(): void {
  const access = useAccessStore();
  const isConnected = useStatusPart(({ state }) => state === 'saved' || state === 'saving');
  const isRefused = useStatusPart(({ reason }) => REFUSALS.has(reason ?? ''));
  useEffect(() => {
    if (isConnected || isRefused) access.ask();
  }, [access, isConnected, isRefused]);
}
