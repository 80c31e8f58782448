/** Everything that can be done by a key or from a menu. The help sheet shows this list. */

import * as edits from '../edits.js';
import { choosePictures } from '../images/add.js';
import { sayError } from '../panel/codes.js';
import { duplicate } from '../transfer.js';
import { contentsOf } from './arrange.js';
import { copied, pasteText, removeSelection } from './clipboard.js';
import { atLeast, type Command } from './command.js';
import { ARRANGE } from './commands-arrange.js';
import { GO_TO_PARTS, SELECT_MORE } from './commands-focus.js';
import { type Controls, count, selectedConnections, selectedItems } from './controls.js';
import { giveFocus, isFocusLost } from './use-focus.js';

const ZOOM_STEP = 1.25;

const hasSelection = ({ scene }: Controls) => scene.selection.size > 0;

const make = (kind: edits.Kind) => (controls: Controls) => {
  const id = edits.createItem(controls.db, kind, controls.place());
  controls.scene.select([id]);
  controls.edit(id);
};

const MAKE: Command[] = [
  { id: 'card', name: 'New card', group: 'Make', keys: ['N'], run: make('text') },
  { id: 'list', name: 'New list', group: 'Make', keys: ['L'], run: make('list') },
  { id: 'link', name: 'New link', group: 'Make', keys: ['K'], run: make('link') },
  { id: 'box', name: 'New box', group: 'Make', keys: ['B'], run: make('box') },
  { id: 'image', name: 'Add an image…', group: 'Make', keys: ['I'], run: choosePictures },
  {
    id: 'connect',
    name: 'Connect the two selected',
    group: 'Make',
    keys: ['C'],
    isEnabled: (controls) => selectedItems(controls).length === 2,
    run: (controls) => {
      const [start = '', end = ''] = selectedItems(controls);
      edits.connect(controls.db, start, end, { from: null, to: null }, controls.connectionType);
      controls.say('Connected.');
    },
  },
];

const EDIT: Command[] = [
  { id: 'undo', name: 'Undo', group: 'Edit', keys: ['Mod+Z'], isElsewhere: true, run: ({ db }) => void db.undo() },
  {
    id: 'redo',
    name: 'Redo',
    group: 'Edit',
    keys: ['Mod+Shift+Z'],
    isElsewhere: true,
    run: ({ db }) => void db.redo(),
  },
  {
    id: 'edit',
    name: 'Edit the text',
    group: 'Edit',
    keys: ['Enter', 'F2'],
    isEnabled: ({ scene }) => scene.selection.size === 1,
    run: ({ scene, edit }) => edit([...scene.selection][0] ?? ''),
  },
  {
    id: 'enter',
    name: 'Go into the card: links, boxes to tick',
    group: 'Edit',
    keys: ['Mod+Enter'],
    isEnabled: ({ scene }) => scene.selection.size === 1,
    run: ({ scene, focus }) => focus([...scene.selection][0] ?? '', true),
  },
  {
    id: 'cut',
    name: 'Cut',
    group: 'Edit',
    keys: ['Mod+X'],
    isElsewhere: true,
    isEnabled: atLeast(1),
    run: (controls) => {
      // The clipboard takes its time, and meanwhile something else may be selected.
      const ids = new Set(controls.scene.selection);
      void toClipboard(controls, () => removeSelection(controls, ids));
    },
  },
  {
    id: 'copy',
    name: 'Copy',
    group: 'Edit',
    keys: ['Mod+C'],
    isElsewhere: true,
    isEnabled: atLeast(1),
    run: (controls) => void toClipboard(controls),
  },
  {
    id: 'paste',
    name: 'Paste',
    group: 'Edit',
    keys: ['Mod+V'],
    isElsewhere: true,
    run: (controls) => {
      const at = controls.place();
      navigator.clipboard.readText().then(
        (text) => pasteText(controls, text, at),
        () => controls.notify('This browser does not hand out its clipboard here: press Ctrl+V instead.'),
      );
    },
  },
  {
    id: 'duplicate',
    name: 'Duplicate',
    group: 'Edit',
    keys: ['Mod+D'],
    isEnabled: atLeast(1),
    run: (controls) => {
      const ids = duplicate(controls.db, new Set(selectedItems(controls)));
      controls.scene.select(ids);
      controls.say(`Duplicated ${count(ids.length, 'item')}.`);
    },
  },
  {
    id: 'delete',
    name: 'Delete',
    group: 'Edit',
    keys: ['Delete', 'Backspace'],
    isEnabled: hasSelection,
    run: (controls) => removeSelection(controls),
  },
  {
    id: 'select-all',
    name: 'Select all',
    group: 'Edit',
    keys: ['Mod+A'],
    run: ({ db, scene, say }) => {
      scene.select(edits.allItems(db).map((row) => row.id));
      say(`${count(scene.selection.size, 'item')} selected.`);
    },
  },
  {
    id: 'select-contents',
    name: 'Select what is in the box',
    group: 'Edit',
    keys: ['Shift+Enter'],
    isEnabled: (controls) => selectedItems(controls).some((id) => controls.db.tables.box.get(id)),
    run: (controls) => {
      const inside = selectedItems(controls).flatMap((id) => contentsOf(controls.db, id).map((item) => item.id));
      controls.scene.select(inside);
      controls.say(`${count(inside.length, 'item')} selected.`);
    },
  },
  {
    id: 'escape',
    name: 'Stop, or select nothing',
    group: 'Edit',
    keys: ['Escape'],
    run: ({ cancel, scene }) => {
      if (!cancel()) scene.select([]);
      if (isFocusLost() || document.activeElement?.matches('.frame')) giveFocus();
    },
  },
  ...SELECT_MORE,
];

async function toClipboard(controls: Controls, then = () => {}): Promise<void> {
  const text = copied(controls);
  if (text === undefined) return;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    return controls.notify('This browser does not take anything into its clipboard here.');
  }
  try {
    then();
  } catch (error) {
    controls.notify(sayError(error));
  }
}

function openSearch({ toggle }: Controls): void {
  toggle('search');
  // It takes the focus by itself when it opens; here it is open already.
  const field = document.querySelector<HTMLInputElement>('.search .field');
  field?.focus();
  field?.select();
}

const VIEW: Command[] = [
  { id: 'search', name: 'Search', group: 'View', keys: ['Mod+F'], run: openSearch },
  { id: 'zoom-in', name: 'Zoom in', group: 'View', keys: ['+', '='], run: ({ camera }) => camera.zoomBy(ZOOM_STEP) },
  { id: 'zoom-out', name: 'Zoom out', group: 'View', keys: ['-'], run: ({ camera }) => camera.zoomBy(1 / ZOOM_STEP) },
  { id: 'zoom-full', name: 'Zoom to 100%', group: 'View', keys: ['Shift+0'], run: ({ camera }) => camera.zoomTo(1) },
  {
    id: 'zoom-fit',
    name: 'Zoom to everything',
    group: 'View',
    keys: ['Shift+1'],
    run: ({ camera, db }) => camera.fit(edits.allItems(db)),
  },
  {
    id: 'zoom-selection',
    name: 'Zoom to the selection',
    group: 'View',
    keys: ['Shift+2'],
    isEnabled: hasSelection,
    run: (controls) => {
      const { db, camera } = controls;
      const ends = selectedConnections(controls).flatMap((id) => edits.endsOf(db, id));
      camera.fit(edits.itemsOf(db, [...selectedItems(controls), ...ends]));
    },
  },
  { id: 'map', name: 'Show or hide the map', group: 'View', keys: ['M'], run: ({ toggleMap }) => toggleMap() },
  { id: 'legend', name: 'Connection types', group: 'View', keys: ['T'], run: ({ toggle }) => toggle('legend') },
  { id: 'help', name: 'All keys', group: 'View', keys: ['?'], run: ({ toggle }) => toggle('help') },
  ...GO_TO_PARTS,
];

export const COMMANDS: readonly Command[] = [...MAKE, ...EDIT, ...ARRANGE, ...VIEW];

const BY_ID = new Map(COMMANDS.map((command) => [command.id, command]));

export function commandOf(id: string): Command {
  const command = BY_ID.get(id);
  if (!command) throw new TypeError(`there is no command “${id}”`);
  return command;
}
