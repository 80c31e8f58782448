/** The node-graph library draws, pans, zooms and selects; here its gestures become edits. */

import {
  Background,
  BackgroundVariant,
  type Connection as Connecting,
  ConnectionMode,
  type EdgeChange,
  type NodeChange,
  ReactFlow,
  SelectionMode,
  useStoreApi,
} from '@xyflow/react';
import { type RefObject, useLayoutEffect, useMemo } from 'react';
import * as edits from '../edits.js';
import { useCanEdit } from '../share/access.js';
import { Box } from './box.js';
import { ZOOM_MAX, ZOOM_MIN } from './camera.js';
import { Card } from './card.js';
import { Connection } from './connection.js';
import type { Controls } from './controls.js';
import type { CanvasNode, ConnectionEdge } from './model.js';
import type { Scene } from './scene.js';
import { Selecting } from './selection.js';
import { GRID } from './snap.js';
import type { useDrag } from './use-drag.js';
import { keepFocus } from './use-focus.js';

const NODE_TYPES = { card: Card, box: Box };
const EDGE_TYPES = { connection: Connection };
const MULTI_SELECT_KEYS = ['Shift', 'Meta', 'Control'];
const EDGE_OPTIONS = { focusable: true };
/** The left button draws a marquee; the middle one pans, as does the left with Space, a finger and the wheel. */
const PAN_BUTTONS = [1];

export interface FlowProps {
  readonly controls: RefObject<Controls>;
  readonly drag: ReturnType<typeof useDrag>;
  readonly attempt: (edit: () => void) => void;
  readonly children: React.ReactNode;
}

export function Flow({ controls, drag, attempt, children }: FlowProps) {
  useDrawn(controls.current.scene);
  const handlers = useHandlers(controls, drag, attempt);
  const canEdit = useCanEdit();
  return (
    <ReactFlow
      nodeTypes={NODE_TYPES}
      edgeTypes={EDGE_TYPES}
      defaultEdgeOptions={EDGE_OPTIONS}
      {...handlers}
      connectionMode={ConnectionMode.Loose}
      connectionRadius={28}
      nodesDraggable={canEdit}
      nodesConnectable={canEdit}
      deleteKeyCode={null}
      selectionKeyCode={null}
      multiSelectionKeyCode={MULTI_SELECT_KEYS}
      selectionOnDrag
      selectionMode={SelectionMode.Partial}
      panOnDrag={PAN_BUTTONS}
      panOnScroll
      zoomOnDoubleClick={false}
      disableKeyboardA11y
      autoPanOnNodeFocus={false}
      minZoom={ZOOM_MIN}
      maxZoom={ZOOM_MAX}
      onlyRenderVisibleElements
      attributionPosition="top-right"
      tabIndex={0}
      aria-label="Canvas: Tab goes through the items, ? shows all keys"
    >
      <Background variant={BackgroundVariant.Dots} gap={GRID} size={1.5} color="var(--dots)" />
      {children}
    </ReactFlow>
  );
}

/**
 * Hands what is to be drawn to the library's store. As properties it would go through the whole tree of components first, with
 * every frame of a drag.
 */
function useDrawn(scene: Scene): void {
  const store = useStoreApi<CanvasNode, ConnectionEdge>();
  useLayoutEffect(() => {
    const draw = () => {
      const { nodes, edges, setNodes, setEdges } = store.getState();
      const drawn = scene.read();
      if (drawn.nodes !== nodes) setNodes(drawn.nodes);
      if (drawn.edges !== edges) setEdges(drawn.edges);
    };
    draw();
    return scene.subscribe(draw);
  }, [scene, store]);
}

/** The same ones with every frame: each new one would have the library ask everything on screen whether it changed. */
function useHandlers(controls: FlowProps['controls'], drag: FlowProps['drag'], attempt: FlowProps['attempt']) {
  const store = useStoreApi<CanvasNode, ConnectionEdge>();
  return useMemo(() => {
    const { db, scene, camera } = controls.current;
    const selecting = new Selecting(scene);
    const isAdding = () => store.getState().multiSelectionActive;
    return {
      onNodesChange: (changes: NodeChange<CanvasNode>[]) => {
        selecting.take(changes, isAdding());
        drag.onPositions(changes);
      },
      onEdgesChange: (changes: EdgeChange<ConnectionEdge>[]) => {
        // A marquee takes items; what ties them to each other goes where they go.
        if (!store.getState().userSelectionActive) selecting.take(changes, isAdding());
      },
      onNodeClick: (_event: React.MouseEvent, { id }: CanvasNode) => (isAdding() ? keepFocus(id) : scene.select([id])),
      onEdgeClick: (_event: React.MouseEvent, { id }: ConnectionEdge) => keepFocus(id),
      onPaneClick: () => void (isAdding() || scene.select([])),
      onPointerDownCapture: ({ target, shiftKey }: React.PointerEvent) =>
        selecting.beginMarquee(shiftKey && (target as Element).matches('.react-flow__pane')),
      onPointerUp: () => selecting.endMarquee(),
      onConnect: ({ source, target, sourceHandle, targetHandle }: Connecting) => {
        const sides = { from: sourceHandle, to: targetHandle };
        attempt(() => edits.connect(db, source, target, sides, controls.current.connectionType));
      },
      onDoubleClick: (event: React.MouseEvent) => {
        if (!(event.target as Element).matches('.react-flow__pane, .box')) return;
        attempt(() => {
          const id = edits.createItem(db, 'text', camera.at({ x: event.clientX, y: event.clientY }));
          scene.select([id]);
          controls.current.edit(id);
        });
      },
      onNodeDragStart: drag.onNodeDragStart,
      onNodeDrag: drag.onNodeDrag,
      // Also where a second button ends it, of which the page hears as no pointer of its own.
      onNodeDragStop: drag.finish,
    };
  }, [controls, drag, attempt, store]);
}
