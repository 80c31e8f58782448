/** The types of connections: what they are called, their colours, and which one new connections get. */

import { Plus, Trash2, X } from 'lucide-react';
import { useRef, useState, useSyncExternalStore } from 'react';
import * as edits from '../edits.js';
import type { ConnectionType } from '../schema.js';
import { useDatabase } from '../space.js';
import { useConnectionTypes } from '../toolbar.js';
import { useEditing, useSelection } from './editing.js';
import { cssColor } from './model.js';
import { Swatches } from './swatches.js';
import { useFocusBack } from './use-focus.js';

export interface LegendProps {
  readonly chosen: string | null;
  readonly choose: (type: string | null) => void;
  readonly close: () => void;
}

export function Legend({ chosen, choose, close }: LegendProps) {
  const db = useDatabase();
  const { scene, attempt } = useEditing();
  const types = useConnectionTypes();
  const selection = useSelection(scene);
  const part = useRef<HTMLElement>(null);
  useFocusBack(part);
  const selected = [...selection].filter((id) => db.tables.connection.get(id));
  const take = (type: string | null) => {
    choose(type);
    if (selected.length > 0) attempt(() => edits.setConnectionType(db, selected, type));
  };
  return (
    <section ref={part} className="legend" aria-label="Connection types" data-testid="legend">
      <header>
        <h2>Connection types</h2>
        <button type="button" className="icon-button" aria-label="Close" onClick={close}>
          <X size={18} aria-hidden />
        </button>
      </header>
      <p className="hint">
        {selected.length > 0 ? 'Choose one for the selected connections.' : 'Choose the one that new connections get.'}
      </p>
      <ul>
        <li>
          <Line color={null} isChosen={chosen === null} name="Plain" choose={() => take(null)} />
          <span className="legend-name">Plain</span>
        </li>
        {types.map((type) => (
          <Entry key={type.id} type={type} isChosen={type.id === chosen} choose={() => take(type.id)} />
        ))}
      </ul>
      <form
        className="naming"
        onSubmit={(event) => {
          event.preventDefault();
          const form = event.currentTarget;
          const name = String(new FormData(form).get('name') ?? '').trim();
          if (!name) return;
          attempt(() => choose(edits.createConnectionType(db, name)));
          form.reset();
        }}
      >
        <input
          className="field"
          name="name"
          aria-label="Name of a new type"
          placeholder="New type"
          data-testid="legend-new"
        />
        <button type="submit" className="icon-button" aria-label="Make the type">
          <Plus size={18} aria-hidden />
        </button>
      </form>
    </section>
  );
}

function Entry({ type, isChosen, choose }: { type: ConnectionType; isChosen: boolean; choose: () => void }) {
  const db = useDatabase();
  const { attempt } = useEditing();
  const [isOpen, setIsOpen] = useState(false);
  const uses = useUses(type.id);
  const name = type.name || 'Unnamed type';
  return (
    <li data-testid="legend-entry" data-name={type.name}>
      <Line color={type.color} isChosen={isChosen} name={name} choose={choose} />
      <button
        type="button"
        className="legend-name"
        aria-expanded={isOpen}
        title="Rename, recolour or delete"
        data-testid="legend-open"
        onClick={() => setIsOpen(!isOpen)}
      >
        {name} <small>{uses}</small>
      </button>
      {isOpen && (
        <div className="legend-details">
          <input
            className="field"
            aria-label={`Name of the type ${name}`}
            defaultValue={type.name}
            data-testid="legend-rename"
            onInput={({ currentTarget }) =>
              attempt(() => db.tables.connection_type.update(type.id, { name: currentTarget.value }))
            }
          />
          <button
            type="button"
            className="icon-button is-danger"
            aria-label={`Delete the type ${name}`}
            title={uses > 0 ? 'It is in use' : 'Delete'}
            disabled={uses > 0}
            onClick={() => attempt(() => db.tables.connection_type.delete(type.id))}
          >
            <Trash2 size={18} aria-hidden />
          </button>
          <Swatches
            label={`Colour of the type ${name}`}
            value={type.color}
            onChoose={(color) => attempt(() => db.tables.connection_type.update(type.id, { color }))}
          />
        </div>
      )}
    </li>
  );
}

/** How many connections are of the type. */
function useUses(type: string): number {
  const db = useDatabase();
  return useSyncExternalStore(
    (changed) => db.tables.connection.subscribe(changed),
    () => db.tables.connection.query((row) => row.connection_type === type).length,
  );
}

interface LineProps {
  readonly color: string | null;
  readonly name: string;
  readonly isChosen: boolean;
  readonly choose: () => void;
}

function Line({ color, name, isChosen, choose }: LineProps) {
  return (
    <button
      type="button"
      className="legend-line"
      aria-label={`Use ${name}`}
      aria-pressed={isChosen}
      data-testid="legend-choose"
      onClick={choose}
    >
      <span style={{ background: cssColor(color) ?? 'var(--line)' }} />
    </button>
  );
}
