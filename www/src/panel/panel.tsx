/** The panel beside the canvas, a sheet on a phone. Each tab is a file of its own. */

import { X } from 'lucide-react';
import { type ComponentType, useEffect, useState } from 'react';
import { useSimulated } from './inspection.js';
import { InspectorTab } from './inspector-tab.js';
import { SyncTab } from './sync-tab.js';

export interface TabProps {
  readonly space: string;
  readonly notify: (text: string) => void;
  readonly showSpaces: () => void;
}

interface Tab {
  readonly name: string;
  readonly View: ComponentType<TabProps>;
}

const SYNC: Tab = { name: 'Sync', View: SyncTab };
const INSPECTOR: Tab = { name: 'Inspector', View: InspectorTab };
const TABS: readonly Tab[] = [SYNC, INSPECTOR];

export function Panel({ close, ...props }: TabProps & { readonly close: () => void }) {
  const [tab, setTab] = useState(SYNC);
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      // A dialog that the panel has opened takes the key for itself.
      const isInside = event.target instanceof Element && event.target.closest('.panel, dialog')?.matches('.panel');
      if (event.key === 'Escape' && !event.isComposing && isInside) close();
    };
    addEventListener('keydown', listen);
    return () => removeEventListener('keydown', listen);
  }, [close]);
  return (
    <aside className="panel" id="panel" aria-label={tab.name} data-testid="outbox-panel">
      <header className="panel-head">
        {TABS.length > 1 ? <Tabs shown={tab} show={setTab} /> : <h2>{tab.name}</h2>}
        <button type="button" className="icon-button" aria-label="Close the panel" onClick={close}>
          <X size={18} aria-hidden />
        </button>
      </header>
      <tab.View {...props} />
    </aside>
  );
}

function Tabs({ shown, show }: { shown: Tab; show: (tab: Tab) => void }) {
  const simulated = useSimulated();
  return (
    <nav className="tabs" aria-label="Panel">
      {TABS.map((tab) => (
        <button
          key={tab.name}
          type="button"
          className="tab"
          aria-current={tab === shown}
          data-testid={`tab-${tab.name.toLowerCase()}`}
          onClick={() => show(tab)}
        >
          {tab.name}
          {tab === INSPECTOR && simulated !== '' && <span className="chip chip-waiting"> simulates</span>}
        </button>
      ))}
    </nav>
  );
}
