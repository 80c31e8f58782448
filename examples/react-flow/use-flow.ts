/**
 * The graph of React Flow, as rows: what everybody shares comes from the tables and goes there, and what only this screen knows (what is
 * selected, how large a node is drawn) stays in the component.
 */

import {
  applyNodeChanges,
  type Connection,
  type Edge,
  type EdgeChange,
  type Node,
  type NodeChange,
} from '@xyflow/react';
import type { Db, Row } from 'driftline';
import { useQuery } from 'driftline/react';
import { useCallback, useMemo, useState } from 'react';
import type { schema } from './schema.js';

export type Space = Db<typeof schema>;
type NodeRow = Row<typeof schema, 'node'>;
export type NoteNode = Node<{ row: NodeRow; db: Space }, 'note'>;

export function useFlow(db: Space) {
  const rows = useQuery(db, 'node');
  const lines = useQuery(db, 'edge');
  // Nodes as React Flow left them; only what is not in the rows is taken from here.
  const [drawn, setDrawn] = useState<ReadonlyMap<string, NoteNode>>(new Map());
  const [selectedEdges, setSelectedEdges] = useState<ReadonlySet<string>>(new Set());

  const nodes = useMemo(() => rows.map((row) => toNode(db, row, drawn.get(row.id))), [db, rows, drawn]);
  const edges = useMemo(
    () => lines.map(({ id, source, target }): Edge => ({ id, source, target, selected: selectedEdges.has(id) })),
    [lines, selectedEdges],
  );

  const onNodesChange = useCallback(
    (changes: NodeChange<NoteNode>[]) => {
      storeNodeChanges(db, changes);
      setDrawn((before) => {
        const nodes = db.tables.node.query().map((row) => toNode(db, row, before.get(row.id)));
        const local = changes.filter((change) => change.type !== 'remove' && change.type !== 'add');
        return new Map(applyNodeChanges(local, nodes).map((node) => [node.id, node]));
      });
    },
    [db],
  );

  const onEdgesChange = useCallback(
    (changes: EdgeChange[]) => {
      storeEdgeChanges(db, changes);
      setSelectedEdges((before) => {
        const after = new Set(before);
        for (const change of changes) {
          if (change.type !== 'select') continue;
          if (change.selected) after.add(change.id);
          else after.delete(change.id);
        }
        return after;
      });
    },
    [db],
  );

  const onConnect = useCallback(
    ({ source, target }: Connection) => void db.tables.edge.create({ source, target }),
    [db],
  );
  return { nodes, edges, onNodesChange, onEdgesChange, onConnect };
}

/** The node of a row: the very one that was drawn before, if the row says nothing else. */
function toNode(db: Space, row: NodeRow, before: NoteNode | undefined): NoteNode {
  if (before?.data.row === row) return before;
  return { ...before, id: row.id, type: 'note', position: { x: row.x, y: row.y }, data: { row, db } };
}

/** One transaction for all that React Flow reports at once, such as a selection that is dragged. Unsent moves fold into one. */
function storeNodeChanges(db: Space, changes: readonly NodeChange<NoteNode>[]): void {
  const stored = changes.filter((change) => {
    if (change.type !== 'position' && change.type !== 'remove') return false;
    // Somebody else may have deleted it in the meantime.
    return db.tables.node.get(change.id) && (change.type === 'remove' || change.position);
  });
  if (stored.length === 0) return;
  db.transaction((tx) => {
    for (const change of stored) {
      if (change.type === 'remove') tx.node.delete(change.id);
      else if (change.type === 'position' && change.position) tx.node.update(change.id, change.position);
    }
  });
}

// Edges of a node that is deleted go with it: the schema says so.
function storeEdgeChanges(db: Space, changes: readonly EdgeChange[]): void {
  const removed = changes.filter((change) => change.type === 'remove' && db.tables.edge.get(change.id));
  if (removed.length === 0) return;
  db.transaction((tx) => {
    for (const change of removed) if (change.type === 'remove') tx.edge.delete(change.id);
  });
}
