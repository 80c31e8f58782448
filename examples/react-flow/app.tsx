import { Background, Controls, Handle, type NodeProps, Position, ReactFlow } from '@xyflow/react';
import { useOpen, useParked, useStatus } from 'driftline/react';
import { useState } from 'react';
import { schema } from './schema.js';
import { type NoteNode, type Space, useFlow } from './use-flow.js';

export function App({ space }: { space: string }) {
  const { db, error } = useOpen({ schema, space, url: '' });
  if (error) return <p role="alert">{String(error)}</p>;
  if (!db) return <p>Opening…</p>;
  return (
    <div className="app">
      <Bar db={db} />
      <Refused db={db} />
      <Flow db={db} />
    </div>
  );
}

const NODE_TYPES = { note: Note };

function Flow({ db }: { db: Space }) {
  const flow = useFlow(db);
  return (
    <ReactFlow {...flow} nodeTypes={NODE_TYPES} fitView={false} proOptions={{ hideAttribution: false }}>
      <Background />
      <Controls />
    </ReactFlow>
  );
}

function Note({ data: { row, db } }: NodeProps<NoteNode>) {
  // While it is typed in, the field has a text of its own: what others write does not move the cursor.
  const [draft, setDraft] = useState<string>();
  const type = (label: string) => {
    setDraft(label);
    if (db.tables.node.get(row.id)) db.tables.node.update(row.id, { label });
  };
  return (
    <div className="note">
      <Handle type="target" position={Position.Left} />
      <input
        className="nodrag"
        aria-label="Label"
        value={draft ?? row.label}
        onChange={(event) => type(event.target.value)}
        onBlur={() => setDraft(undefined)}
      />
      <Handle type="source" position={Position.Right} />
    </div>
  );
}

function Bar({ db }: { db: Space }) {
  const [isOnline, setIsOnline] = useState(true);
  const { state, reason, queued, in_flight, line, undo } = useStatus(db);
  const waiting = queued + in_flight;
  const says = { saved: 'Saved', saving: 'Saving …', offline: 'Offline', not_saving: `Not saved: ${reason}` }[state];
  const add = () => {
    const count = db.tables.node.size;
    db.tables.node.create({
      label: `Note ${count + 1}`,
      x: 60 + (count % 4) * 220,
      y: 60 + Math.floor(count / 4) * 110,
    });
  };
  const switchOnline = () => {
    db.setOnline(!isOnline);
    setIsOnline(!isOnline);
  };
  return (
    <header className="bar">
      <button type="button" onClick={add}>
        Add note
      </button>
      <button type="button" disabled={undo === 0} onClick={() => void db.undo()}>
        Undo
      </button>
      <label>
        <input type="checkbox" checked={isOnline} onChange={switchOnline} /> Online
      </label>
      <output id="status" data-state={state} title={line}>
        {waiting === 0 ? says : `${says} (${waiting} ${waiting === 1 ? 'edit waits' : 'edits wait'})`}
      </output>
    </header>
  );
}

/** What the server has refused: the user decides. */
function Refused({ db }: { db: Space }) {
  const groups = useParked(db);
  if (groups.length === 0) return <div />;
  return (
    <ul className="parked">
      {groups.map((group) => (
        <li key={group.key}>
          {group.problem.detail}{' '}
          <button type="button" onClick={() => group.retry()}>
            Try again
          </button>{' '}
          <button type="button" onClick={() => group.discard({ dependents: true })}>
            Give up
          </button>
        </li>
      ))}
    </ul>
  );
}
