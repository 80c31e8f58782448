/** The nodes and edges on screen: the rows, with what only this screen knows (what is selected, what is being dragged). */

import { applyEdgeChanges, applyNodeChanges, type EdgeChange, type NodeChange } from '@xyflow/react';
import { useCallback, useEffect, useState } from 'react';
import type { Database } from '../space.js';
import { type CanvasNode, type ConnectionEdge, makeEdge, makeNode } from './model.js';

export function useGraph(db: Database) {
  const [nodes, setNodes] = useState<CanvasNode[]>([]);
  const [edges, setEdges] = useState<ConnectionEdge[]>([]);

  useEffect(() => {
    const node = (id: string, before?: CanvasNode) => makeNode(db, id, before);
    const edge = (id: string, before?: ConnectionEdge) => makeEdge(db, id, before);
    const { card, box, connection } = db.tables;
    setNodes(merge([], new Set([...card.query(), ...box.query()].map((row) => row.id)), node));
    setEdges(merge([], new Set(connection.query().map((row) => row.id)), edge));

    return db.subscribe((changed) => {
      const items = new Set([...(changed.get('card') ?? []), ...(changed.get('box') ?? [])]);
      if (items.size > 0) setNodes((nodes) => merge(nodes, items, node));
      const connections = new Set(changed.get('connection'));
      const types = changed.get('connection_type');
      if (types) {
        for (const row of connection.query((row) => types.has(row.connection_type ?? ''))) connections.add(row.id);
      }
      if (connections.size > 0) setEdges((edges) => merge(edges, connections, edge));
    });
  }, [db]);

  // Rows appear and vanish by edits alone, so the library's own removals are passed over.
  const onNodesChange = useCallback((changes: NodeChange<CanvasNode>[]) => {
    setNodes((nodes) =>
      applyNodeChanges(
        changes.filter((change) => change.type !== 'remove'),
        nodes,
      ),
    );
  }, []);
  const onEdgesChange = useCallback((changes: EdgeChange<ConnectionEdge>[]) => {
    setEdges((edges) =>
      applyEdgeChanges(
        changes.filter((change) => change.type !== 'remove'),
        edges,
      ),
    );
  }, []);

  const select = useCallback((ids: ReadonlySet<string>) => {
    setNodes((nodes) =>
      nodes.map((node) => (node.selected === ids.has(node.id) ? node : { ...node, selected: ids.has(node.id) })),
    );
    setEdges((edges) =>
      edges.map((edge) => (edge.selected === ids.has(edge.id) ? edge : { ...edge, selected: ids.has(edge.id) })),
    );
  }, []);

  return { nodes, edges, onNodesChange, onEdgesChange, select };
}

/** Makes the changed ones anew, drops those that are gone, and keeps the others as the very same objects. */
function merge<T extends { id: string }>(
  current: T[],
  changed: ReadonlySet<string>,
  make: (id: string, before?: T) => T | undefined,
): T[] {
  const left = new Set(changed);
  const kept = current.flatMap((item) => (left.delete(item.id) ? (make(item.id, item) ?? []) : item));
  return [...kept, ...[...left].flatMap((id) => make(id) ?? [])];
}

/** What lies within a box goes where the box goes. */
export function contentsOf(db: Database, boxId: string): string[] {
  const box = db.tables.box.get(boxId);
  if (!box) return [];
  const inside = [...db.tables.card.query(), ...db.tables.box.query()].filter(
    (row) =>
      row.id !== boxId &&
      row.x >= box.x &&
      row.y >= box.y &&
      row.x + row.width <= box.x + box.width &&
      row.y + row.height <= box.y + box.height,
  );
  return inside.map((row) => row.id);
}
