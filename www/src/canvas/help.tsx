import { X } from 'lucide-react';
import { useLayoutEffect, useRef } from 'react';
import { Notices } from '../notices.js';
import { COMMANDS } from './commands.js';
import { keyCaps } from './keys.js';

const GROUPS = ['Make', 'Edit', 'Arrange', 'View'] as const;
/** What hands do, which is in no list of commands. */
const GESTURES = [
  ['Drag on the ground', 'Select what the frame touches; with Shift, add it'],
  ['Shift and click', 'Add to the selection, or take away from it'],
  ['Space and drag, or the wheel', 'Move the view'],
  ['Ctrl and the wheel, or a pinch', 'Zoom'],
  ['Double-click on the ground', 'New card there'],
  ['Ctrl while dragging', 'No snapping'],
  ['Right click, or a long press', 'Menu; it also adds an item to the selection'],
  ['Tab', 'Next item, as a page is read'],
] as const;

export function Help({ close }: { close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} className="help" aria-labelledby="help-title" data-testid="help" onClose={close}>
      <header>
        <h2 id="help-title">Keys and gestures</h2>
        <button type="button" className="icon-button" aria-label="Close" onClick={() => dialog.current?.close()}>
          <X size={18} aria-hidden />
        </button>
      </header>
      <div className="help-groups">
        {GROUPS.map((group) => (
          <section key={group}>
            <h3>{group}</h3>
            <dl>
              {COMMANDS.filter((command) => command.group === group).map(({ id, name, keys }) => (
                <div key={id}>
                  <dt>{name}</dt>
                  <dd>
                    <Keys name={keys[0] ?? ''} />
                  </dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
        <section>
          <h3>By hand</h3>
          <dl>
            {GESTURES.map(([gesture, effect]) => (
              <div key={gesture} className="gesture">
                <dt>{gesture}</dt>
                <dd>{effect}</dd>
              </div>
            ))}
          </dl>
        </section>
      </div>
      <Notices />
    </dialog>
  );
}

export function Keys({ name }: { name: string }) {
  return (
    <span className="keys">
      {keyCaps(name).map((cap) => (
        <kbd key={cap}>{cap}</kbd>
      ))}
    </span>
  );
}
