import { Excalidraw } from '@excalidraw/excalidraw';
import type { ExcalidrawImperativeAPI } from '@excalidraw/excalidraw/types';
import { useOpen, useStatus } from 'driftline/react';
import { useEffect, useState } from 'react';
import { Mirror, type Space } from './mirror.js';
import { schema } from './schema.js';

export function App({ space }: { space: string }) {
  const { db, error } = useOpen({ schema, space, url: '' });
  if (error) return <p role="alert">{String(error)}</p>;
  if (!db) return <p>Opening…</p>;
  return (
    <div className="app">
      <Bar db={db} />
      <Canvas db={db} />
    </div>
  );
}

function Canvas({ db }: { db: Space }) {
  const [api, setApi] = useState<ExcalidrawImperativeAPI>();
  useEffect(() => {
    if (!api) return;
    const mirror = new Mirror(db, api);
    // With `?debug=1`, so that the drawing can be looked at from outside.
    if (new URLSearchParams(location.search).has('debug')) Object.assign(window, { excalidraw: api });
    return () => mirror.stop();
  }, [api, db]);
  return <Excalidraw excalidrawAPI={setApi} autoFocus handleKeyboardGlobally />;
}

function Bar({ db }: { db: Space }) {
  const [isOnline, setIsOnline] = useState(true);
  const { state, reason, queued, in_flight, line } = useStatus(db);
  const waiting = queued + in_flight;
  const says = { saved: 'Saved', saving: 'Saving …', offline: 'Offline', not_saving: `Not saved: ${reason}` }[state];
  const switchOnline = () => {
    db.setOnline(!isOnline);
    setIsOnline(!isOnline);
  };
  return (
    <header className="bar">
      <label>
        <input type="checkbox" checked={isOnline} onChange={switchOnline} /> Online
      </label>
      <output id="status" data-state={state} title={line}>
        {waiting === 0 ? says : `${says} (${waiting} ${waiting === 1 ? 'edit waits' : 'edits wait'})`}
      </output>
    </header>
  );
}
