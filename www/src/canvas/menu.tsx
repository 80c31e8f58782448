/** The menu of a right click, a long press, or the menu key. */

import { type RefObject, useEffect, useLayoutEffect, useRef, useState } from 'react';
import type { Command } from './command.js';
import { commandOf } from './commands.js';
import type { Controls } from './controls.js';
import type { Place } from './geometry.js';
import { Keys } from './help.js';
import { join } from './selection.js';
import { useFocusBack } from './use-focus.js';
import type { Opened } from './use-menu.js';

const ON_ITEMS = [
  ['edit', 'connect', 'select-contents', 'join'],
  ['cut', 'copy', 'paste', 'duplicate', 'delete'],
  ['front', 'back'],
  ['align-left', 'align-center', 'align-top', 'align-middle', 'distribute-horizontal', 'distribute-vertical'],
  ['zoom-selection'],
];
const ON_GROUND = [
  ['card', 'list', 'link', 'box', 'image'],
  ['paste', 'select-all'],
  ['zoom-fit', 'search', 'legend', 'help'],
];

export interface MenuProps {
  /** On screen. */
  readonly at: Opened;
  readonly controls: RefObject<Controls>;
  readonly attempt: (edit: () => void) => void;
  readonly close: () => void;
}

export function Menu({ at, controls, attempt, close }: MenuProps) {
  const list = useRef<HTMLDivElement>(null);
  const [place, setPlace] = useState<Place>(at);
  const groups = groupsFor(controls.current, at);
  useFocusBack(list);

  useLayoutEffect(() => {
    const { width = 0, height = 0 } = list.current?.getBoundingClientRect() ?? {};
    setPlace({
      x: Math.max(8, Math.min(at.x, innerWidth - width - 8)),
      y: Math.max(8, Math.min(at.y, innerHeight - height - 8)),
    });
    list.current?.querySelector('button')?.focus();
  }, [at]);
  useEffect(() => {
    const listen = (event: PointerEvent) => {
      if (!list.current?.contains(event.target as Node)) close();
    };
    addEventListener('pointerdown', listen, true);
    return () => removeEventListener('pointerdown', listen, true);
  }, [close]);

  const onKeyDown = (event: React.KeyboardEvent) => {
    // While the menu is open, the keys are the menu's.
    event.stopPropagation();
    const buttons = [...(list.current?.querySelectorAll('button') ?? [])];
    const here = buttons.indexOf(document.activeElement as HTMLButtonElement);
    const to = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: -1 }[event.key];
    if (event.key === 'Escape' || event.key === 'Tab') close();
    else if (to !== undefined) buttons.at(to % buttons.length)?.focus();
    else return;
    event.preventDefault();
  };
  const run = (command: Command) => {
    attempt(() => command.run(controls.current));
    close();
  };
  return (
    <div
      ref={list}
      className="menu"
      role="menu"
      tabIndex={-1}
      aria-label="What can be done here"
      data-testid="menu"
      style={{ left: place.x, top: place.y }}
      onKeyDown={onKeyDown}
      onContextMenu={(event) => event.preventDefault()}
    >
      {groups.map((commands) => (
        <fieldset key={commands[0]?.id} className="menu-group">
          {commands.map((command) => (
            <button
              key={command.id}
              type="button"
              role="menuitem"
              tabIndex={-1}
              data-testid={`menu-${command.id}`}
              onClick={() => run(command)}
            >
              {command.name}
              {command.keys[0] && <Keys name={command.keys[0]} />}
            </button>
          ))}
        </fieldset>
      ))}
    </div>
  );
}

/** What can be done now; a menu does not list what cannot. */
function groupsFor(controls: Controls, at: Opened): Command[][] {
  const groups = controls.scene.selection.size > 0 ? ON_ITEMS : ON_GROUND;
  const named = (id: string) => (id === 'join' ? joining(at) : commandOf(id));
  return groups
    .map((ids) => ids.map(named).filter((command) => command.isEnabled?.(controls) ?? true))
    .filter((commands) => commands.length > 0);
}

/** What the menu is about joins what was selected before, or leaves it: so a finger, too, selects one after the other. */
function joining({ item = '', before }: Opened): Command {
  const isIn = before.has(item);
  return {
    ...commandOf('join'),
    name: isIn ? 'Take out of the selection' : 'Add to the selection',
    isEnabled: () => item !== '' && before.size > (isIn ? 1 : 0),
    run: (controls) => join(controls, before, item),
  };
}
