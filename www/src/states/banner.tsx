/** One line above the canvas, only where there is something to know or to do. The most urgent comes first. */

import { CircleAlert, CloudOff, Eye, RefreshCw, TriangleAlert } from 'lucide-react';
import { type ReactNode, useState } from 'react';
import { useFiles } from '../images/files.js';
import { exportUnsent } from '../panel/export.js';
import { useStatus } from '../panel/use-sync.js';
import { countOf } from '../panel/words.js';
import { useAccess } from '../share/access.js';
import { useDatabase } from '../space.js';
import { type Remedy, type Trouble, troubleOf } from './trouble.js';
import { useUpdate } from './use-update.js';

export interface BannerProps {
  readonly notify: (text: string) => void;
  readonly showPanel: () => void;
  readonly showLink: () => void;
  /** Where the person works offline. */
  readonly goOnline: (() => void) | undefined;
}

export function Banner({ notify, showPanel, showLink, goOnline }: BannerProps) {
  const db = useDatabase();
  const files = useFiles();
  const status = useStatus();
  const access = useAccess();
  const update = useUpdate();
  const [isReadOnlyKnown, setIsReadOnlyKnown] = useState(false);
  // Where a newer version of the page waits, loading again alone would bring the old one back.
  const reload = update ?? (() => location.reload());
  const remedies: Record<Remedy, { words: string; act: () => void }> = {
    reload: { words: 'Load again', act: reload },
    export: { words: 'Export what waits', act: () => exportUnsent(db, files, notify) },
    link: { words: 'Use another link', act: showLink },
    panel: { words: 'Show', act: showPanel },
  };

  const trouble = troubleOf(status);
  if (access?.role === 'none' && !trouble?.isUrgent) {
    const detail = 'Ask whoever keeps it for one, and open it here. Until then nothing can be fetched or made.';
    return (
      <Line kind="warn" code="no_access" title="This space needs a link that opens it" detail={detail}>
        <button type="button" className="button" data-testid="remedy" onClick={showLink}>
          Use a link
        </button>
      </Line>
    );
  }
  if (trouble) {
    const remedy = trouble.remedy && remedies[trouble.remedy];
    return (
      <Line kind={kindOf(trouble)} code={status.reason ?? ''} title={trouble.title} detail={trouble.detail}>
        {remedy && (
          <button type="button" className="button" data-testid="remedy" onClick={remedy.act}>
            {remedy.words}
          </button>
        )}
      </Line>
    );
  }
  if (update) {
    return (
      <Line
        kind="info"
        code="update"
        title="A newer version is ready"
        detail="It is used once the page is loaded again."
      >
        <button type="button" className="button" data-testid="remedy" onClick={update}>
          Load again
        </button>
      </Line>
    );
  }
  if (access?.role === 'read' && !isReadOnlyKnown) {
    const waiting = status.queued + status.parked;
    const detail =
      waiting > 0
        ? `Your link is for reading. ${countOf(waiting, 'change')} of before cannot be sent with it.`
        : 'Your link is for reading: you see what others make, as they make it.';
    return (
      <Line kind="info" code="read_only" title="You can look, but not change anything" detail={detail}>
        <button type="button" className="button" onClick={() => setIsReadOnlyKnown(true)}>
          All right
        </button>
      </Line>
    );
  }
  if (goOnline) {
    // Shown on phones: elsewhere the switch at the top says it.
    return (
      <Line kind="warn" code="switched_off" title="You work offline" detail="Nothing is sent or fetched.">
        <button type="button" className="button" data-testid="remedy" onClick={goOnline}>
          Go online
        </button>
      </Line>
    );
  }
  return null;
}

type Kind = 'bad' | 'warn' | 'info';
const ICONS = { bad: TriangleAlert, warn: CircleAlert, info: Eye };
const ICON_OF: Readonly<Record<string, typeof Eye>> = {
  update: RefreshCw,
  schema_newer: RefreshCw,
  switched_off: CloudOff,
};

/** Red is for what may be lost; the rest is kept. */
function kindOf({ isUrgent, remedy }: Trouble): Kind {
  if (isUrgent) return 'bad';
  return remedy === 'reload' ? 'info' : 'warn';
}

interface LineProps {
  readonly kind: Kind;
  readonly code: string;
  readonly title: string;
  readonly detail: string;
  readonly children?: ReactNode;
}

function Line({ kind, code, title, detail, children }: LineProps) {
  const Icon = ICON_OF[code] ?? ICONS[kind];
  return (
    <section className={`banner is-${kind}`} aria-label="Notice" data-testid="banner" data-code={code}>
      <Icon size={18} aria-hidden />
      <p>
        <strong>{title}.</strong> {detail}
      </p>
      {children}
    </section>
  );
}
