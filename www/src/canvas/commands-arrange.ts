/** The commands that only say where items are. */

import * as edits from '../edits.js';
import { alignItems, distributeItems, moveBy, resizeBy, restack } from './arrange.js';
import { atLeast, type Command } from './command.js';
import { type Controls, selectedItems } from './controls.js';
import { boundsOf, contains, intersects, type Place, type Rect } from './geometry.js';
import { GRID } from './snap.js';
import { focusedItem } from './use-focus.js';

const STEP = 4;
const PAN_STEP = 80;

const ARROWS = [
  { key: 'ArrowLeft', where: 'left', x: -1, y: 0, size: 'Narrower' },
  { key: 'ArrowRight', where: 'right', x: 1, y: 0, size: 'Wider' },
  { key: 'ArrowUp', where: 'up', x: 0, y: -1, size: 'Lower' },
  { key: 'ArrowDown', where: 'down', x: 0, y: 1, size: 'Taller' },
] as const;

const ALIGNMENTS = [
  { to: 'left', name: 'Align left', key: 'Alt+A' },
  { to: 'center', name: 'Align centres', key: 'Alt+H' },
  { to: 'right', name: 'Align right', key: 'Alt+D' },
  { to: 'top', name: 'Align top', key: 'Alt+W' },
  { to: 'middle', name: 'Align middles', key: 'Alt+V' },
  { to: 'bottom', name: 'Align bottom', key: 'Alt+S' },
] as const;

const DISTRIBUTIONS = [
  { direction: 'horizontal', name: 'Equal gaps across', key: 'Alt+Shift+H' },
  { direction: 'vertical', name: 'Equal gaps down', key: 'Alt+Shift+V' },
] as const;

/** Where less of what is moved can be seen than before, the view goes after it, and the focus stays on it. */
function nudge({ db, camera, focus }: Controls, items: readonly string[], by: Place): void {
  const bounds = () => boundsOf(edits.itemsOf(db, items));
  const [before, view, focused] = [bounds(), camera.view(), focusedItem()];
  // All of it, a part, or nothing.
  const seen = (rect: Rect) => Number(contains(view, rect)) + Number(intersects(view, rect));
  moveBy(db, items, by);
  const after = bounds();
  if (!before || !after || seen(after) >= seen(before)) return;
  camera.reveal(after);
  if (focused !== undefined) focus(focused);
}

/** With nothing selected, the arrows move the view. */
const step = (controls: Controls, x: number, y: number) => {
  const items = selectedItems(controls);
  if (items.length === 0) return controls.camera.panBy({ x: x * PAN_STEP, y: y * PAN_STEP });
  const by = controls.snapping.toGrid ? GRID : STEP;
  nudge(controls, items, { x: x * by, y: y * by });
  const [first] = edits.itemsOf(controls.db, items);
  if (first) controls.say(`At ${first.x}, ${first.y}.`);
};

export const ARRANGE: Command[] = [
  ...ARROWS.flatMap(({ key, where, x, y, size }): Command[] => [
    { id: `move-${where}`, name: `Move ${where}`, group: 'Arrange', keys: [key], run: (c) => step(c, x, y) },
    {
      id: `leap-${where}`,
      name: `Move far ${where}`,
      group: 'Arrange',
      keys: [`Shift+${key}`],
      isEnabled: atLeast(1),
      run: (controls) => nudge(controls, selectedItems(controls), { x: x * GRID, y: y * GRID }),
    },
    {
      id: `resize-${where}`,
      name: size,
      group: 'Arrange',
      keys: [`Alt+${key}`],
      isEnabled: atLeast(1),
      run: ({ db, scene }) => resizeBy(db, scene.selection, { x: x * GRID, y: y * GRID }),
    },
  ]),
  ...ALIGNMENTS.map(
    ({ to, name, key }): Command => ({
      id: `align-${to}`,
      name,
      group: 'Arrange',
      keys: [key],
      isEnabled: atLeast(2),
      run: (controls) => alignItems(controls.db, selectedItems(controls), to),
    }),
  ),
  ...DISTRIBUTIONS.map(
    ({ direction, name, key }): Command => ({
      id: `distribute-${direction}`,
      name,
      group: 'Arrange',
      keys: [key],
      isEnabled: atLeast(3),
      run: (controls) => distributeItems(controls.db, selectedItems(controls), direction),
    }),
  ),
  {
    id: 'front',
    name: 'To the front',
    group: 'Arrange',
    keys: [']'],
    isEnabled: atLeast(1),
    run: (controls) => restack(controls.db, selectedItems(controls), true),
  },
  {
    id: 'back',
    name: 'To the back',
    group: 'Arrange',
    keys: ['['],
    isEnabled: atLeast(1),
    run: (controls) => restack(controls.db, selectedItems(controls), false),
  },
  {
    id: 'snap-items',
    name: 'Snap to other items',
    group: 'Arrange',
    keys: ['S'],
    run: ({ snapping, setSnapping, say }) => {
      setSnapping({ toItems: !snapping.toItems });
      say(`Snapping to other items is ${snapping.toItems ? 'off' : 'on'}.`);
    },
  },
  {
    id: 'snap-grid',
    name: 'Snap to the grid',
    group: 'Arrange',
    keys: ['G'],
    run: ({ snapping, setSnapping, say }) => {
      setSnapping({ toGrid: !snapping.toGrid });
      say(`Snapping to the grid is ${snapping.toGrid ? 'off' : 'on'}.`);
    },
  },
];
