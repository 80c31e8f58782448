import {
  ChevronDown,
  CircleCheck,
  CloudOff,
  Ellipsis,
  Eye,
  PanelRight,
  Redo2,
  RefreshCw,
  TriangleAlert,
  Undo2,
} from 'lucide-react';
import { Menu } from './panel/menu.js';
import { useStatus, useStatusPart } from './panel/use-sync.js';
import { statusSentence, statusWords } from './panel/words.js';
import { Avatars } from './people/avatars.js';
import { canEdit, useAccess } from './share/access.js';
import { useDatabase } from './space.js';
import { takeBack } from './undo.js';

/** Told apart by their shape, too: a phone has no room for the words. */
const STATUS_ICONS = { saved: CircleCheck, saving: RefreshCw, offline: CloudOff, not_saving: TriangleAlert };

/** What opens over the canvas. */
export type Shown = 'spaces' | 'people' | 'share' | 'history';

export interface TopBarProps {
  readonly space: string;
  readonly notify: (text: string) => void;
  readonly show: (what: Shown) => void;
  readonly isOffline: boolean;
  readonly switchOffline: () => void;
  readonly isPanelOpen: boolean;
  readonly togglePanel: () => void;
}

export function TopBar(props: TopBarProps) {
  const { space, notify, show, isOffline, switchOffline, isPanelOpen, togglePanel } = props;
  const access = useAccess();
  return (
    <header className="topbar">
      <h1 className="brand">
        <img src="/icon.svg" alt="" width={26} height={26} />
        <span>Driftline</span>
      </h1>
      <button
        type="button"
        className="space-button"
        data-testid="space"
        aria-label={`Space ${space}: make or open another`}
        aria-haspopup="dialog"
        onClick={() => show('spaces')}
      >
        <span>{space}</span>
        <ChevronDown size={16} aria-hidden />
      </button>
      {access?.role === 'read' && (
        <span className="chip view-only" data-testid="view-only">
          <Eye size={14} aria-hidden /> View only
        </span>
      )}
      {canEdit(access) && (
        <>
          <TakeBack isRedo={false} notify={notify} />
          <TakeBack isRedo notify={notify} />
        </>
      )}
      <span className="spacer" />
      <Avatars showPeople={() => show('people')} />
      <StatusButton togglePanel={togglePanel} />
      <button
        type="button"
        role="switch"
        aria-checked={isOffline}
        aria-label="Work offline"
        title="While it is on, nothing is sent and everything is kept on this device"
        className="switch"
        data-testid="online-switch"
        onClick={switchOffline}
      >
        <span className="track" aria-hidden />
        <span className="words">Work offline</span>
      </button>
      <PanelToggle isPanelOpen={isPanelOpen} togglePanel={togglePanel} />
      <button
        type="button"
        className="icon-button"
        aria-label="Menu"
        aria-haspopup="true"
        popoverTarget="app-menu"
        data-testid="menu-button"
      >
        <Ellipsis size={20} aria-hidden />
      </button>
      <Menu show={show} isOffline={isOffline} switchOffline={switchOffline} />
    </header>
  );
}

function TakeBack({ isRedo, notify }: { isRedo: boolean; notify: (text: string) => void }) {
  const db = useDatabase();
  const isNothing = useStatusPart(({ undo, redo }) => (isRedo ? redo : undo) === 0);
  const [name, keys, Icon] = isRedo ? (['Redo', 'Ctrl+Shift+Z', Redo2] as const) : (['Undo', 'Ctrl+Z', Undo2] as const);
  return (
    <button
      type="button"
      className="icon-button"
      aria-label={name}
      title={`${name} (${keys})`}
      data-testid={name.toLowerCase()}
      disabled={isNothing}
      onClick={() => takeBack(db, isRedo, notify)}
    >
      <Icon size={18} aria-hidden />
    </button>
  );
}

/** It is told to those who hear the page by a region of its own, which waits until it stays. */
function StatusButton({ togglePanel }: { togglePanel: () => void }) {
  const status = useStatus();
  const Icon = STATUS_ICONS[status.state];
  return (
    <button
      type="button"
      className={`status status-${status.state}`}
      data-testid="status"
      data-state={status.state}
      data-line={status.line}
      title={statusSentence(status)}
      aria-label={`${statusWords(status)}. Show what waits`}
      onClick={togglePanel}
    >
      <Icon size={18} aria-hidden />
      <span className="words">{statusWords(status)}</span>
    </button>
  );
}

function PanelToggle({ isPanelOpen, togglePanel }: { isPanelOpen: boolean; togglePanel: () => void }) {
  const parked = useStatusPart((status) => status.parked + status.files.parked);
  const others = useStatusPart(({ queued, in_flight, files }) => queued + in_flight + files.waiting);
  const waiting = parked + others;
  return (
    <button
      type="button"
      className="icon-button"
      aria-label={waiting > 0 ? `Show what waits to be sent: ${waiting}` : 'Show what waits to be sent'}
      aria-expanded={isPanelOpen}
      aria-controls={isPanelOpen ? 'panel' : undefined}
      data-testid="panel-toggle"
      onClick={togglePanel}
    >
      <PanelRight size={20} aria-hidden />
      {waiting > 0 && (
        <span className={`badge${parked > 0 ? ' is-parked' : ''}`} aria-hidden>
          {waiting > 999 ? '999+' : waiting}
        </span>
      )}
    </button>
  );
}
