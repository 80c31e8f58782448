/** The commands that go elsewhere and change nothing, and the one that selects what they have gone to. */

import type { Command } from './command.js';
import type { Controls } from './controls.js';
import { goToPart } from './page-parts.js';
import { join } from './selection.js';
import { focusedItem } from './use-focus.js';
import { goTo, nextItem } from './walk.js';

const step = (by: 1 | -1) => (controls: Controls) => {
  const next = nextItem(controls, by);
  if (next !== undefined) goTo(controls, next);
};

export const SELECT_MORE: Command[] = [
  {
    id: 'focus-next',
    name: 'Next item, selecting nothing',
    group: 'Edit',
    keys: ['Mod+ArrowRight', 'Mod+ArrowDown'],
    run: step(1),
  },
  {
    id: 'focus-previous',
    name: 'Item before, selecting nothing',
    group: 'Edit',
    keys: ['Mod+ArrowLeft', 'Mod+ArrowUp'],
    run: step(-1),
  },
  {
    id: 'join',
    name: 'Add it to the selection, or take it out',
    group: 'Edit',
    keys: ['Mod+Space', 'Shift+Space'],
    isEnabled: () => focusedItem() !== undefined,
    run: (controls) => join(controls, controls.scene.selection, focusedItem() ?? ''),
  },
];

export const GO_TO_PARTS: Command[] = [
  {
    id: 'part-next',
    name: 'Next part of the page',
    group: 'View',
    keys: ['F6'],
    isAnywhere: true,
    run: (controls) => goToPart(controls, 1),
  },
  {
    id: 'part-previous',
    name: 'Part of the page before',
    group: 'View',
    keys: ['Shift+F6'],
    isAnywhere: true,
    run: (controls) => goToPart(controls, -1),
  },
];
