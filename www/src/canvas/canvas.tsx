/** The canvas itself. The node-graph library draws, pans, zooms and selects; here its gestures become edits. */

import {
  Background,
  BackgroundVariant,
  type Connection as Connecting,
  ConnectionMode,
  Controls,
  Panel,
  ReactFlow,
  useReactFlow,
} from '@xyflow/react';
import { useCallback, useEffect, useMemo, useRef, useState } from 'react';
import * as edits from '../edits.js';
import { useDatabase } from '../space.js';
import { Toolbar } from '../toolbar.js';
import { Box } from './box.js';
import { Card } from './card.js';
import { Connection } from './connection.js';
import { type Editing, EditingProvider } from './editing.js';
import { Inspector } from './inspector.js';
import type { CanvasNode, ConnectionEdge } from './model.js';
import { moveByKeyboard, useDrag } from './use-drag.js';
import { useGraph } from './use-graph.js';

const NODE_TYPES = { card: Card, box: Box };
const EDGE_TYPES = { connection: Connection };
const DELETE_KEYS = ['Delete', 'Backspace'];
const MULTI_SELECT_KEYS = ['Shift', 'Meta', 'Control'];
/** Further out than fitting goes by itself: a huge canvas is opened at its middle, not as dust. */
const FIT = {
  padding: { top: '88px', right: '48px', bottom: '72px', left: '64px' },
  maxZoom: 1,
  minZoom: 0.25,
} as const;
const EDGE_OPTIONS = { focusable: true };

export interface CanvasProps {
  readonly space: string;
  readonly notify: (text: string) => void;
}

export function Canvas({ space, notify }: CanvasProps) {
  const db = useDatabase();
  const flow = useReactFlow<CanvasNode, ConnectionEdge>();
  const { nodes, edges, onNodesChange, onEdgesChange, select } = useGraph(db);
  const [isLoaded, setIsLoaded] = useState(false);
  const [editedId, setEditedId] = useState<string | null>(null);
  const [connectionType, setConnectionType] = useState<string | null>(null);

  const report = useCallback(
    (error: unknown) => notify(error instanceof Error ? error.message : String(error)),
    [notify],
  );
  const editing = useMemo<Editing>(
    () => ({
      id: editedId,
      begin: setEditedId,
      end: () => setEditedId(null),
      attempt: (edit) => {
        try {
          edit();
        } catch (error) {
          report(error);
        }
      },
    }),
    [editedId, report],
  );
  const drag = useDrag(db, report);
  const fit = useCallback(
    (ids?: string[]) =>
      setTimeout(() => flow.fitView({ ...FIT, ...(ids && { nodes: ids.map((id) => ({ id })) }) }), 50),
    [flow],
  );
  useEffect(() => {
    db.loaded.then(() => setIsLoaded(true));
  }, [db]);
  // The first rows to arrive, from this device or from the server, bring the view to them; later ones leave it alone.
  const hasRows = nodes.length > 0;
  const hasView = useRef(false);
  useEffect(() => {
    if (hasRows && !hasView.current) fit();
    hasView.current ||= hasRows;
  }, [hasRows, fit]);

  const show = (id: string) => {
    hasView.current = true;
    // The row reaches the nodes with the store's next flush, which is queued already.
    queueMicrotask(() => select(new Set([id])));
    setEditedId(id);
  };
  const center = () => {
    const bounds = document.querySelector('.react-flow')?.getBoundingClientRect() ?? new DOMRect();
    return flow.screenToFlowPosition({ x: bounds.x + bounds.width / 2, y: bounds.y + bounds.height / 2 });
  };
  const onDoubleClick = (event: React.MouseEvent) => {
    const target = event.target as Element;
    if (!target.matches('.react-flow__pane, .box')) return;
    const place = flow.screenToFlowPosition({ x: event.clientX, y: event.clientY });
    editing.attempt(() => show(edits.createCard(db, 'text', place)));
  };
  const connect = (start: string, end: string, from: string | null = null, to: string | null = null) =>
    editing.attempt(() => edits.connect(db, start, end, { from, to }, connectionType));
  const onConnect = ({ source, target, sourceHandle, targetHandle }: Connecting) =>
    connect(source, target, sourceHandle, targetHandle);
  const onDelete = (gone: { nodes: CanvasNode[]; edges: ConnectionEdge[] }) =>
    editing.attempt(() =>
      edits.remove(
        db,
        gone.nodes.map(({ id }) => id),
        gone.edges.map(({ id }) => id),
      ),
    );

  const selectedItems = useMemo(() => nodes.filter((node) => node.selected).map((node) => node.id), [nodes]);
  const selectedConnections = useMemo(() => edges.filter((edge) => edge.selected).map((edge) => edge.id), [edges]);

  return (
    <EditingProvider value={editing}>
      <main className="canvas" aria-label={`Canvas ${space}`} data-testid="canvas">
        <ReactFlow
          nodes={nodes}
          edges={edges}
          nodeTypes={NODE_TYPES}
          edgeTypes={EDGE_TYPES}
          defaultEdgeOptions={EDGE_OPTIONS}
          onNodesChange={(changes) => {
            onNodesChange(changes);
            editing.attempt(() => moveByKeyboard(db, changes));
          }}
          onEdgesChange={onEdgesChange}
          onConnect={onConnect}
          onDelete={onDelete}
          onDoubleClick={onDoubleClick}
          {...drag}
          connectionMode={ConnectionMode.Loose}
          connectionRadius={28}
          deleteKeyCode={DELETE_KEYS}
          multiSelectionKeyCode={MULTI_SELECT_KEYS}
          zoomOnDoubleClick={false}
          panOnScroll
          minZoom={0.15}
          maxZoom={3}
          onlyRenderVisibleElements
        >
          <Background variant={BackgroundVariant.Dots} gap={24} size={1.5} color="#d4d8e0" />
          <Controls showInteractive={false} fitViewOptions={FIT} position="bottom-left" />
          <Panel position="top-center">
            <Toolbar
              space={space}
              notify={notify}
              connectionType={connectionType}
              setConnectionType={setConnectionType}
              create={(kind) =>
                editing.attempt(() =>
                  show(kind === 'box' ? edits.createBox(db, center()) : edits.createCard(db, kind, center())),
                )
              }
              opened={(ids) => fit(ids)}
            />
          </Panel>
          {(selectedItems.length > 0 || selectedConnections.length > 0) && (
            <Panel position="bottom-center">
              <Inspector items={selectedItems} connections={selectedConnections} connect={connect} />
            </Panel>
          )}
        </ReactFlow>
        {isLoaded && !hasRows && (
          <div className="empty" aria-hidden>
            <strong>An empty canvas</strong>
            <span>Double-click anywhere to write a card, or open a .canvas file.</span>
          </div>
        )}
      </main>
    </EditingProvider>
  );
}
