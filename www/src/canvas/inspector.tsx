/** What can be done to the selection. */

import { Trash2 } from 'lucide-react';
import * as edits from '../edits.js';
import { useDatabase } from '../space.js';
import { ConnectionTypeSelect } from '../toolbar.js';
import { useEditing } from './editing.js';
import { cssColor, PRESETS } from './model.js';

export interface InspectorProps {
  readonly items: string[];
  readonly connections: string[];
  /** Connects two items without a pointer: the first that was made to the second. */
  readonly connect: (start: string, end: string) => void;
}

export function Inspector({ items, connections, connect }: InspectorProps) {
  const db = useDatabase();
  const { attempt, begin } = useEditing();
  const connection =
    items.length === 0 && connections.length === 1 ? db.tables.connection.get(connections[0] ?? '') : undefined;

  const paint = (color: string | null) =>
    attempt(() =>
      db.transaction((tx) => {
        for (const id of items) (db.tables.card.get(id) ? tx.card : tx.box).update(id, { color });
        for (const id of connections) tx.connection.update(id, { color });
      }),
    );

  return (
    <div className="bar" role="toolbar" aria-label="Selection" data-testid="inspector">
      {items.length + connections.length > 1 && (
        <span className="count">{items.length + connections.length} selected</span>
      )}
      <fieldset className="swatches">
        <legend className="visually-hidden">Colour</legend>
        <button type="button" className="swatch swatch-none" aria-label="No colour" onClick={() => paint(null)} />
        {Object.entries(PRESETS).map(([color, name]) => (
          <button
            key={color}
            type="button"
            className="swatch"
            aria-label={name}
            data-testid={`color-${color}`}
            style={{ background: cssColor(color) }}
            onClick={() => paint(color)}
          />
        ))}
      </fieldset>
      {items.length === 1 && connections.length === 0 && (
        <button type="button" className="text-button" data-testid="edit-text" onClick={() => begin(items[0] ?? '')}>
          Edit text
        </button>
      )}
      {items.length === 2 && (
        <button
          type="button"
          className="text-button"
          data-testid="connect-selection"
          onClick={() => connect(items[0] ?? '', items[1] ?? '')}
        >
          Connect
        </button>
      )}
      {connection && (
        <>
          <input
            key={connection.id}
            className="field"
            aria-label="Label of the connection"
            placeholder="Label"
            data-testid="connection-label"
            defaultValue={connection.label ?? ''}
            onInput={(event) => {
              const label = event.currentTarget.value || null;
              attempt(() => db.tables.connection.update(connection.id, { label }));
            }}
          />
          <ConnectionTypeSelect
            label="Type of this connection"
            value={connection.connection_type}
            onChange={(connection_type) =>
              attempt(() => db.tables.connection.update(connection.id, { connection_type }))
            }
          />
        </>
      )}
      <button
        type="button"
        className="icon-button is-danger"
        aria-label="Delete the selection"
        title="Delete"
        data-testid="delete-selection"
        onClick={() => attempt(() => edits.remove(db, items, connections))}
      >
        <Trash2 size={18} aria-hidden />
      </button>
    </div>
  );
}
