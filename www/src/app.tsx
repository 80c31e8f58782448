import { ReactFlowProvider } from '@xyflow/react';
import { X } from 'lucide-react';
import { useCallback, useEffect, useState } from 'react';
import { Canvas } from './canvas/canvas.js';
import { SyncPanel } from './panel/panel.js';
import { useDatabase } from './space.js';
import { TopBar } from './topbar.js';
import { listenForUndo } from './undo.js';

const NOTICE_MS = 8_000;

export function App({ space }: { space: string }) {
  const db = useDatabase();
  const [isPanelOpen, setIsPanelOpen] = useState(true);
  const [notice, setNotice] = useState<{ text: string } | null>(null);
  const notify = useCallback((text: string) => setNotice({ text }), []);

  useEffect(() => db.onError((error) => notify(error.detail)), [db, notify]);
  useEffect(() => db.onNotice((notice) => notify(notice.problem.detail)), [db, notify]);
  useEffect(() => listenForUndo(db, notify), [db, notify]);
  useEffect(() => {
    if (!notice) return;
    const timer = setTimeout(() => setNotice(null), NOTICE_MS);
    return () => clearTimeout(timer);
  }, [notice]);

  return (
    <div className="app">
      <TopBar
        space={space}
        notify={notify}
        isPanelOpen={isPanelOpen}
        togglePanel={() => setIsPanelOpen(!isPanelOpen)}
      />
      <div className="stage">
        <ReactFlowProvider>
          <Canvas space={space} notify={notify} />
        </ReactFlowProvider>
        {isPanelOpen && <SyncPanel space={space} notify={notify} />}
      </div>
      <div className="notices" role="status" data-testid="notice">
        {notice && (
          <div className="notice">
            <span>{notice.text}</span>
            <button type="button" className="icon-button" aria-label="Dismiss" onClick={() => setNotice(null)}>
              <X size={16} aria-hidden />
            </button>
          </div>
        )}
      </div>
    </div>
  );
}
