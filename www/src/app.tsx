import { ReactFlowProvider } from '@xyflow/react';
import { useCallback, useEffect, useState } from 'react';
import { Canvas } from './canvas/canvas.js';
import { HistoryDialog } from './history/history-dialog.js';
import { useFiles } from './images/files.js';
import { Notices, NoticesProvider, useNotices } from './notices.js';
import { sayError } from './panel/codes.js';
import { useOffline } from './panel/offline.js';
import { Panel } from './panel/panel.js';
import { Simulated } from './panel/simulated.js';
import { useStatusPart } from './panel/use-sync.js';
import { countOf } from './panel/words.js';
import { PeopleOverlay } from './people/overlay.js';
import { PeopleProvider } from './people/people.js';
import { PeopleDialog } from './people/people-dialog.js';
import { useAccessStore, useCanEdit } from './share/access.js';
import { takeFormerUser } from './share/pass.js';
import { ShareDialog } from './share/share-dialog.js';
import { useDatabase } from './space.js';
import { SpacesDialog } from './spaces/spaces-dialog.js';
import { waitingFor } from './spaces/use-spaces.js';
import { Banner } from './states/banner.js';
import { StatusRegion } from './states/status-region.js';
import { useLeaving } from './states/use-leaving.js';
import { Welcome } from './states/welcome.js';
import { type Shown, TopBar } from './topbar.js';
import { listenForUndo } from './undo.js';

const REFUSALS: ReadonlySet<string> = new Set(['unauthenticated', 'forbidden', 'wrong_user']);
/** On less the panel would cover the canvas: it is opened when asked for. */
const ROOM_FOR_PANEL = '(min-width: 721px)';

export function App({ space }: { space: string }) {
  const canEdit = useCanEdit();
  const [isPanelOpen, setIsPanelOpen] = useState(() => matchMedia(ROOM_FOR_PANEL).matches);
  const [shown, setShown] = useState<Shown>();
  const { noticed, notify } = useNotices();
  useTold(space, notify);
  useAccessQuestions();
  useLeaving();
  const [isOffline, switchOffline] = useOffline(space, useFiles());
  const close = useCallback(() => setShown(undefined), []);
  const closePanel = useCallback(() => setIsPanelOpen(false), []);
  const props = { space, notify };

  return (
    <NoticesProvider value={noticed}>
      <PeopleProvider>
        <div className="app" data-read-only={canEdit ? undefined : ''}>
          <a className="skip-link" href="#canvas">
            Go to the canvas
          </a>
          <TopBar
            {...props}
            show={setShown}
            isOffline={isOffline}
            switchOffline={switchOffline}
            isPanelOpen={isPanelOpen}
            togglePanel={() => setIsPanelOpen(!isPanelOpen)}
          />
          <Banner
            notify={notify}
            showPanel={() => setIsPanelOpen(true)}
            showLink={() => setShown('share')}
            goOnline={isOffline ? switchOffline : undefined}
          />
          {!isPanelOpen && <Simulated />}
          {/* biome-ignore lint/a11y/noStaticElementInteractions: on a phone a tap beside the panel closes it; with the keyboard that is Escape. */}
          {/* biome-ignore lint/a11y/useKeyWithClickEvents: as above. */}
          <div className="stage" onClick={({ target, currentTarget }) => target === currentTarget && closePanel()}>
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
          <Notices />
        </div>
        {shown === 'spaces' && <SpacesDialog {...props} close={close} />}
        {shown === 'people' && <PeopleDialog close={close} />}
        {shown === 'share' && <ShareDialog {...props} close={close} />}
        {shown === 'history' && <HistoryDialog {...props} close={close} />}
      </PeopleProvider>
    </NoticesProvider>
  );
}

/** What is told without being asked: by the engine, by undo, and of what another pass has left here. */
function useTold(space: string, notify: (text: string) => void): void {
  const db = useDatabase();
  useEffect(() => db.onError((error) => notify(sayError(error))), [db, notify]);
  useEffect(() => db.onNotice(({ problem }) => notify(sayError(problem))), [db, notify]);
  useEffect(() => listenForUndo(db, notify), [db, notify]);
  useEffect(() => {
    const former = takeFormerUser(space);
    if (former === undefined) return;
    waitingFor(former, space).then(
      (count) => count > 0 && notify(formerWords(former, count)),
      // Where the device cannot be read, the banner says so.
      () => {},
    );
  }, [space, notify]);
}

function formerWords(former: string | null, count: number): string {
  const [by, link] =
    former === null ? ['without a link', 'without one'] : [`by ${former}`, `with a link for ${former}`];
  return `Not sent yet: ${countOf(count, 'change')} made here ${by}. They are kept on this device until this canvas is opened ${link} again.`;
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
