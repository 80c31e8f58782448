/** What can be done to the selection. */

import { useRow } from 'driftline/react';
import {
  AlignCenterHorizontal,
  AlignCenterVertical,
  AlignEndHorizontal,
  AlignEndVertical,
  AlignHorizontalSpaceBetween,
  AlignStartHorizontal,
  AlignStartVertical,
  AlignVerticalSpaceBetween,
  Trash2,
} from 'lucide-react';
import { type RefObject, useRef, useSyncExternalStore } from 'react';
import * as edits from '../edits.js';
import { type Database, useDatabase } from '../space.js';
import { ConnectionTypeSelect } from '../toolbar.js';
import { commandOf } from './commands.js';
import { type Controls, selectedConnections, selectedItems } from './controls.js';
import { useEditing, useSelection } from './editing.js';
import { keyCaps } from './keys.js';
import type { Scene } from './scene.js';
import { Swatches } from './swatches.js';
import { useFocusBack } from './use-focus.js';

const ARRANGE = [
  ['align-left', AlignStartVertical],
  ['align-center', AlignCenterVertical],
  ['align-right', AlignEndVertical],
  ['align-top', AlignStartHorizontal],
  ['align-middle', AlignCenterHorizontal],
  ['align-bottom', AlignEndHorizontal],
  ['distribute-horizontal', AlignHorizontalSpaceBetween],
  ['distribute-vertical', AlignVerticalSpaceBetween],
] as const;

interface InspectorProps {
  readonly controls: RefObject<Controls>;
}

export function Inspector({ controls }: InspectorProps) {
  const { scene } = useEditing();
  const isNothing = useSelection(scene).size === 0;
  return isNothing ? null : <Bar controls={controls} />;
}

function Bar({ controls }: InspectorProps) {
  const db = useDatabase();
  const { attempt, scene } = useEditing();
  const selection = useSelection(scene);
  const color = useColor(db, scene);
  const bar = useRef<HTMLDivElement>(null);
  useFocusBack(bar);
  const items = selectedItems(controls.current);
  const connections = selectedConnections(controls.current);
  const run = (id: string) => attempt(() => commandOf(id).run(controls.current));
  return (
    <div ref={bar} className="bar inspector" role="toolbar" aria-label="Selection" data-testid="inspector">
      {selection.size > 1 && <span className="count">{selection.size} selected</span>}
      <Swatches label="Colour" value={color} onChoose={(color) => attempt(() => edits.paint(db, selection, color))} />
      {items.length === 1 && connections.length === 0 && (
        <button type="button" className="text-button" data-testid="edit-text" onClick={() => run('edit')}>
          {db.tables.card.get(items[0] ?? '')?.image ? 'Describe' : 'Edit text'}
        </button>
      )}
      {items.length === 2 && (
        <button type="button" className="text-button" data-testid="connect-selection" onClick={() => run('connect')}>
          Connect
        </button>
      )}
      {items.length > 1 && <Arrange controls={controls} run={run} />}
      {items.length === 0 && connections.length > 0 && (
        <ConnectionFields key={connections.join()} connections={connections} />
      )}
      <button
        type="button"
        className="icon-button is-danger"
        aria-label="Delete the selection"
        title="Delete"
        data-testid="delete-selection"
        onClick={() => run('delete')}
      >
        <Trash2 size={18} aria-hidden />
      </button>
    </div>
  );
}

/** The colour that all of what is selected has; undefined where there are several. */
function useColor(db: Database, scene: Scene): string | null | undefined {
  return useSyncExternalStore(scene.subscribe, () => {
    const { card, box, connection } = db.tables;
    const colorOf = (id: string) => (card.get(id) ?? box.get(id) ?? connection.get(id))?.color;
    const [first, ...others] = scene.selection;
    const color = first === undefined ? undefined : colorOf(first);
    return others.every((id) => colorOf(id) === color) ? color : undefined;
  });
}

function Arrange({ controls, run }: { controls: RefObject<Controls>; run: (id: string) => void }) {
  return (
    <>
      <span className="divider" />
      {ARRANGE.map(([id, Icon]) => {
        const { name, keys, isEnabled } = commandOf(id);
        return (
          <button
            key={id}
            type="button"
            className="icon-button"
            aria-label={name}
            title={`${name} (${keyCaps(keys[0] ?? '').join('+')})`}
            data-testid={id}
            disabled={isEnabled?.(controls.current) === false}
            onClick={() => run(id)}
          >
            <Icon size={18} aria-hidden />
          </button>
        );
      })}
      <span className="divider" />
    </>
  );
}

function ConnectionFields({ connections }: { connections: readonly string[] }) {
  const db = useDatabase();
  const { attempt } = useEditing();
  const first = useRow(db, 'connection', connections[0]);
  if (!first) return null;
  return (
    <>
      {connections.length === 1 && (
        <input
          className="field"
          aria-label="Label of the connection"
          placeholder="Label"
          data-testid="connection-label"
          defaultValue={first.label ?? ''}
          onInput={(event) => {
            const label = event.currentTarget.value || null;
            attempt(() => db.tables.connection.update(first.id, { label }));
          }}
        />
      )}
      <ConnectionTypeSelect
        label={connections.length === 1 ? 'Type of this connection' : 'Type of these connections'}
        value={first.connection_type}
        onChange={(type) => attempt(() => edits.setConnectionType(db, connections, type))}
      />
    </>
  );
}
