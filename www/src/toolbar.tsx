/** Makes new things, opens and saves files, and holds the type that the next connection gets. */

import { useQuery } from 'driftline/react';
import { Download, FileText, FolderOpen, Image, Link, ListTodo, Plus, Spline, Square, StickyNote } from 'lucide-react';
import { memo, useRef, useState } from 'react';
import { useEditing } from './canvas/editing.js';
import { useFocusBack } from './canvas/use-focus.js';
import { createConnectionType } from './edits.js';
import { FILE_TYPES } from './formats.js';
import type { ConnectionType } from './schema.js';
import { useDatabase } from './space.js';

const KINDS = [
  { kind: 'text', name: 'Card', Icon: StickyNote },
  { kind: 'list', name: 'List', Icon: ListTodo },
  { kind: 'link', name: 'Link', Icon: Link },
  { kind: 'file', name: 'File', Icon: FileText },
  { kind: 'box', name: 'Box', Icon: Square },
] as const;

export type NewKind = (typeof KINDS)[number]['kind'];

export interface ToolbarProps {
  readonly create: (kind: NewKind) => void;
  readonly addImage: () => void;
  readonly save: () => void;
  readonly open: (file: File) => void;
  readonly connectionType: string | null;
  readonly setConnectionType: (id: string | null) => void;
  readonly isLegendOpen: boolean;
  readonly toggleLegend: () => void;
}

export const Toolbar = memo(function Toolbar(props: ToolbarProps) {
  const { create, addImage, save, open, connectionType, setConnectionType, isLegendOpen, toggleLegend } = props;
  return (
    <div className="bar tools" role="toolbar" aria-label="Tools">
      {KINDS.map(({ kind, name, Icon }) => (
        <button
          key={kind}
          type="button"
          className="tool"
          aria-label={`Add a ${name.toLowerCase()}`}
          title={`Add a ${name.toLowerCase()}`}
          data-testid={`add-${kind}`}
          onClick={() => create(kind)}
        >
          <Icon size={18} aria-hidden />
          <span>{name}</span>
        </button>
      ))}
      <button
        type="button"
        className="tool"
        aria-label="Add an image"
        title="Add an image (I)"
        data-testid="add-image"
        onClick={addImage}
      >
        <Image size={18} aria-hidden />
        <span>Image</span>
      </button>
      <span className="divider" />
      <ConnectionTypeSelect label="Type of new connections" value={connectionType} onChange={setConnectionType} />
      <button
        type="button"
        className="icon-button"
        aria-label="Connection types"
        aria-expanded={isLegendOpen}
        title="Connection types (T)"
        data-testid="legend-toggle"
        onClick={toggleLegend}
      >
        <Spline size={18} aria-hidden />
      </button>
      <span className="divider" />
      <label className="tool" title="Open a JSON Canvas, Excalidraw or tldraw file">
        <FolderOpen size={18} aria-hidden />
        <span>Open</span>
        <input
          type="file"
          accept={FILE_TYPES}
          className="visually-hidden"
          aria-label="Open a JSON Canvas, Excalidraw or tldraw file"
          data-testid="open-file"
          onChange={(event) => {
            const [file] = event.currentTarget.files ?? [];
            // Emptied, so that the same file can be opened again.
            event.currentTarget.value = '';
            if (file) open(file);
          }}
        />
      </label>
      <button
        type="button"
        className="tool"
        aria-label="Save as a .canvas file"
        title="Save as a .canvas file"
        data-testid="save-file"
        onClick={save}
      >
        <Download size={18} aria-hidden />
        <span>Save</span>
      </button>
    </div>
  );
});

/** By name. */
export function useConnectionTypes(): ConnectionType[] {
  return [...useQuery(useDatabase(), 'connection_type')].sort((a, b) => a.name.localeCompare(b.name));
}

interface TypeSelectProps {
  readonly label: string;
  readonly value: string | null;
  readonly onChange: (id: string | null) => void;
}

const NEW_TYPE = 'new';

export function ConnectionTypeSelect({ label, value, onChange }: TypeSelectProps) {
  const db = useDatabase();
  const types = useConnectionTypes();
  const [isNaming, setIsNaming] = useState(false);

  if (isNaming) {
    return <NewType make={(name) => onChange(createConnectionType(db, name))} close={() => setIsNaming(false)} />;
  }
  return (
    <select
      className="field"
      aria-label={label}
      title={label}
      data-testid="connection-type"
      value={types.some((type) => type.id === value) ? (value ?? '') : ''}
      onChange={({ target }) => (target.value === NEW_TYPE ? setIsNaming(true) : onChange(target.value || null))}
    >
      <option value="">Plain connection</option>
      {types.map((type) => (
        <option key={type.id} value={type.id}>
          {type.name || 'Unnamed type'}
        </option>
      ))}
      <option value={NEW_TYPE}>New type…</option>
    </select>
  );
}

interface NewTypeProps {
  readonly make: (name: string) => void;
  readonly close: () => void;
}

/** A name that is refused stays in its field. */
function NewType({ make, close }: NewTypeProps) {
  const { attempt } = useEditing();
  const form = useRef<HTMLFormElement>(null);
  useFocusBack(form);
  const submit = (event: React.FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const name = String(new FormData(event.currentTarget).get('name') ?? '').trim();
    attempt(() => {
      if (name) make(name);
      close();
    });
  };
  return (
    <form ref={form} className="naming" onSubmit={submit}>
      <input
        className="field"
        name="name"
        aria-label="Name of the new type"
        placeholder="Name"
        // biome-ignore lint/a11y/noAutofocus: the person has just asked for a new type.
        autoFocus
        data-testid="type-name"
        onKeyDown={({ key, nativeEvent }) => key === 'Escape' && !nativeEvent.isComposing && close()}
      />
      <button type="submit" className="icon-button" aria-label="Create the type">
        <Plus size={18} aria-hidden />
      </button>
    </form>
  );
}
