/** Makes new things, opens and saves files, and holds the type that the next connection gets. */

import { Download, FileText, FolderOpen, Link, Plus, Square, StickyNote } from 'lucide-react';
import { useEffect, useState } from 'react';
import { openFile, saveFile } from './edits.js';
import { useDatabase } from './space.js';

export interface ToolbarProps {
  readonly space: string;
  readonly notify: (text: string) => void;
  readonly create: (kind: 'text' | 'link' | 'file' | 'box') => void;
  readonly opened: (ids: string[]) => void;
  readonly connectionType: string | null;
  readonly setConnectionType: (id: string | null) => void;
}

const KINDS = [
  { kind: 'text', name: 'Card', Icon: StickyNote },
  { kind: 'link', name: 'Link', Icon: Link },
  { kind: 'file', name: 'File', Icon: FileText },
  { kind: 'box', name: 'Box', Icon: Square },
] as const;

const SENTENCES_MAX = 5;

/** As many sentences as a notice holds; the others are counted. */
function few(sentences: readonly string[]): string[] {
  const more = sentences.length - SENTENCES_MAX;
  return [...sentences.slice(0, SENTENCES_MAX), ...(more > 0 ? [`And ${more} more.`] : [])];
}

export function Toolbar({ space, notify, create, opened, connectionType, setConnectionType }: ToolbarProps) {
  const db = useDatabase();
  const open = async (file: File) => {
    try {
      const { ids, left_out } = await openFile(db, await file.text());
      opened(ids);
      notify([`Opened ${file.name}: ${ids.length} items.`, ...few(left_out)].join(' '));
    } catch (error) {
      notify(error instanceof Error ? error.message : String(error));
    }
  };
  return (
    <div className="bar" role="toolbar" aria-label="Tools">
      {KINDS.map(({ kind, name, Icon }) => (
        <button
          key={kind}
          type="button"
          className="tool"
          aria-label={`Add a ${name.toLowerCase()}`}
          data-testid={`add-${kind}`}
          onClick={() => create(kind)}
        >
          <Icon size={18} aria-hidden />
          <span>{name}</span>
        </button>
      ))}
      <span className="divider" />
      <ConnectionTypeSelect label="Type of new connections" value={connectionType} onChange={setConnectionType} />
      <span className="divider" />
      <label className="tool" title="Open a .canvas file">
        <FolderOpen size={18} aria-hidden />
        <span>Open</span>
        <input
          type="file"
          accept=".canvas"
          className="visually-hidden"
          aria-label="Open a .canvas file"
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
        data-testid="save-file"
        onClick={() => saveFile(db, space)}
      >
        <Download size={18} aria-hidden />
        <span>Save</span>
      </button>
    </div>
  );
}

interface TypeSelectProps {
  readonly label: string;
  readonly value: string | null;
  readonly onChange: (id: string | null) => void;
}

const NEW_TYPE = 'new';

export function ConnectionTypeSelect({ label, value, onChange }: TypeSelectProps) {
  const db = useDatabase();
  const [types, setTypes] = useState(() => db.tables.connection_type.query());
  const [isNaming, setIsNaming] = useState(false);
  useEffect(() => {
    const read = () => setTypes(db.tables.connection_type.query());
    read();
    return db.tables.connection_type.subscribe(read);
  }, [db]);

  if (isNaming) {
    return (
      <form
        className="naming"
        onSubmit={(event) => {
          event.preventDefault();
          const name = String(new FormData(event.currentTarget).get('name') ?? '').trim();
          setIsNaming(false);
          if (name) onChange(db.tables.connection_type.create({ name }).id);
        }}
      >
        <input
          className="field"
          name="name"
          aria-label="Name of the new type"
          placeholder="Name"
          // biome-ignore lint/a11y/noAutofocus: the person has just asked for a new type.
          autoFocus
          data-testid="type-name"
        />
        <button type="submit" className="icon-button" aria-label="Create the type">
          <Plus size={18} aria-hidden />
        </button>
      </form>
    );
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
