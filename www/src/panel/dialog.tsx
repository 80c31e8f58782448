/** A dialog over everything; on a phone a sheet. The browser keeps the focus in it and gives it back afterwards. */

import { X } from 'lucide-react';
import { type ReactNode, useId, useLayoutEffect, useRef } from 'react';
import { Notices } from '../notices.js';

export interface DialogProps {
  readonly title: string;
  /** What it is called in tests. */
  readonly testId: string;
  readonly close: () => void;
  readonly children: ReactNode;
}

export function Dialog({ title, testId, close, children }: DialogProps) {
  const element = useRef<HTMLDialogElement>(null);
  const titleId = useId();
  const isPressedBeside = useRef(false);
  // It closes before it is taken away: afterwards it would not give the focus back.
  useLayoutEffect(() => {
    const dialog = element.current;
    dialog?.showModal();
    return () => dialog?.close();
  }, []);
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: a click beside it closes it; with the keyboard that is Escape.
    <dialog
      ref={element}
      className="dialog"
      aria-labelledby={titleId}
      data-testid={testId}
      onClose={close}
      onPointerDown={({ target, currentTarget }) => {
        isPressedBeside.current = target === currentTarget;
      }}
      // Text that is marked in a field may end beside it.
      onClick={({ target, currentTarget }) =>
        isPressedBeside.current && target === currentTarget && element.current?.close()
      }
    >
      <header className="dialog-head">
        <h2 id={titleId}>{title}</h2>
        <button type="button" className="icon-button" aria-label="Close" onClick={() => element.current?.close()}>
          <X size={18} aria-hidden />
        </button>
      </header>
      <div className="dialog-body">{children}</div>
      <Notices />
    </dialog>
  );
}

export interface AskProps {
  readonly title: string;
  readonly children: ReactNode;
  /** What the button that leaves all as it is says. */
  readonly keep?: string;
  /** What the button that does it says. Without one there is nothing left to ask. */
  readonly action?: string;
  readonly act?: () => void;
  readonly close: () => void;
}

/** Asks before something that cannot be taken back. The safe answer comes first. */
export function Ask({ title, children, keep = 'Keep it', action, act, close }: AskProps) {
  return (
    <Dialog title={title} testId="ask" close={close}>
      {children}
      <div className="actions">
        <button type="button" className="button" onClick={close}>
          {keep}
        </button>
        {act && (
          <button
            type="button"
            className="button is-danger"
            data-testid="ask-yes"
            onClick={() => {
              close();
              act();
            }}
          >
            {action}
          </button>
        )}
      </div>
    </Dialog>
  );
}
