import { PanelRight, Redo2, Undo2 } from 'lucide-react';
import { useState } from 'react';
import { useStatus } from './panel/use-sync.js';
import { statusWords } from './panel/words.js';
import { addressOf, isSpaceName, useDatabase, useSpaces } from './space.js';
import { takeBack } from './undo.js';

export interface TopBarProps {
  readonly space: string;
  readonly notify: (text: string) => void;
  readonly isPanelOpen: boolean;
  readonly togglePanel: () => void;
}

export function TopBar({ space, notify, isPanelOpen, togglePanel }: TopBarProps) {
  const db = useDatabase();
  const status = useStatus(db);
  const [isOnline, setIsOnline] = useState(true);
  const switchOnline = () => {
    db.setOnline(!isOnline);
    setIsOnline(!isOnline);
  };
  return (
    <header className="topbar">
      <h1 className="brand">
        <img src="/icon.svg" alt="" width={26} height={26} />
        Driftline
      </h1>
      <SpaceChooser space={space} />
      <button
        type="button"
        className="icon-button"
        aria-label="Undo"
        title="Undo (Ctrl+Z)"
        data-testid="undo"
        disabled={status.undo === 0}
        onClick={() => takeBack(db, false, notify)}
      >
        <Undo2 size={18} aria-hidden />
      </button>
      <button
        type="button"
        className="icon-button"
        aria-label="Redo"
        title="Redo (Ctrl+Shift+Z)"
        data-testid="redo"
        disabled={status.redo === 0}
        onClick={() => takeBack(db, true, notify)}
      >
        <Redo2 size={18} aria-hidden />
      </button>
      <span className="spacer" />
      <output
        className={`status status-${status.state}`}
        data-testid="status"
        data-state={status.state}
        data-line={status.line}
        title={status.line}
      >
        <span className="dot" aria-hidden />
        {statusWords(status)}
      </output>
      <button
        type="button"
        role="switch"
        aria-checked={isOnline}
        className="switch"
        data-testid="online-switch"
        onClick={switchOnline}
      >
        <span className="track" aria-hidden />
        {isOnline ? 'Online' : 'Offline'}
      </button>
      <button
        type="button"
        className="icon-button"
        aria-label="Show what waits to be sent"
        aria-expanded={isPanelOpen}
        data-testid="panel-toggle"
        onClick={togglePanel}
      >
        <PanelRight size={20} aria-hidden />
        {status.queued + status.in_flight + status.parked > 0 && (
          <span className={`badge${status.parked > 0 ? ' is-parked' : ''}`}>
            {status.queued + status.in_flight + status.parked}
          </span>
        )}
      </button>
    </header>
  );
}

function SpaceChooser({ space }: { space: string }) {
  const [spaces] = useSpaces();
  const go = (name: string) => {
    if (name !== space && isSpaceName(name)) location.assign(addressOf(name));
  };
  return (
    <form
      className="space-chooser"
      onSubmit={(event) => {
        event.preventDefault();
        go(String(new FormData(event.currentTarget).get('space')).trim());
      }}
    >
      <label htmlFor="space">Space</label>
      <input
        id="space"
        name="space"
        className="field"
        list="spaces"
        defaultValue={space}
        maxLength={64}
        pattern="[A-Za-z0-9_.\-]+"
        title="Letters, digits, and _ . - ; press Enter to go there"
        autoComplete="off"
        spellCheck={false}
        data-testid="space"
      />
      <datalist id="spaces">
        {spaces.map(({ name }) => (
          <option key={name} value={name} />
        ))}
      </datalist>
    </form>
  );
}
