/** What cards and boxes share: the frame to resize by, the handles to connect from, and the mark of a text that was refused. */

import { Handle, NodeResizer, useConnection } from '@xyflow/react';
import { useMemo, useState, useSyncExternalStore } from 'react';
import { useEditing } from './editing.js';
import { type Rect, SIZE_MIN } from './geometry.js';
import { cssColor, SIDES } from './model.js';
import { useIsUnsaved } from './unsaved.js';
import { useFocusLeft } from './use-focus.js';

export interface ItemProps {
  readonly id: string;
  readonly kind: 'card' | 'box';
  readonly className: string;
  readonly color: string | null;
  readonly isSelected: boolean;
  readonly keepsRatio?: boolean;
  readonly children: React.ReactNode;
}

export function Item({ id, kind, className, color, isSelected, keepsRatio = false, children }: ItemProps) {
  const editing = useEditing();
  const [isOver, setIsOver] = useState(false);
  const isConnecting = useConnection((connection) => connection.inProgress);
  const isAlone = useIsAlone(isSelected);
  const isUnsaved = useIsUnsaved(id);
  useFocusLeft(id);
  const tint = cssColor(color);
  const isCard = kind === 'card';
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: the node around it takes the keyboard; double click is a short cut.
    <div
      className={`${kind} ${className}${isSelected ? ' is-selected' : ''}${tint ? ' is-tinted' : ''}`}
      data-testid={kind}
      data-id={id}
      style={tint ? ({ '--tint': tint } as React.CSSProperties) : undefined}
      onPointerEnter={({ buttons }) => buttons === 0 && setIsOver(true)}
      onPointerLeave={({ buttons }) => buttons === 0 && setIsOver(false)}
      onDoubleClick={isCard ? () => editing.begin(id) : undefined}
    >
      {isAlone && <Resizer id={id} keepsRatio={keepsRatio} />}
      {ANCHORS}
      {(isOver || isAlone || isConnecting) && <Handles />}
      {children}
      {isUnsaved && editing.id !== id && <NotKept write={() => editing.begin(id)} />}
    </div>
  );
}

/** While the text is open in its field, that says so itself. */
function NotKept({ write }: { write: () => void }) {
  return (
    <button
      type="button"
      className="not-kept nodrag"
      tabIndex={-1}
      aria-label="Not kept: go on writing"
      data-testid="not-kept"
      onClick={write}
    >
      Not kept
    </button>
  );
}

/** The same handlers all the while: new ones would have the library begin anew under a finger. */
function Resizer({ id, keepsRatio }: { id: string; keepsRatio: boolean }) {
  const { resizing } = useEditing();
  const handlers = useMemo(
    () => ({
      onResizeStart: () => resizing.onResizeStart(id),
      onResize: (_event: unknown, { x, y, width, height }: Rect) => resizing.onResize(id, { x, y, width, height }),
    }),
    [resizing, id],
  );
  return (
    <NodeResizer minWidth={SIZE_MIN.width} minHeight={SIZE_MIN.height} keepAspectRatio={keepsRatio} {...handlers} />
  );
}

// What the library measures to know where connections end. Real handles on all cards in view would cost more than the cards
// do, so those are there only when a hand is near.
const ANCHORS = SIDES.map((side) => (
  <i key={side} className={`anchor anchor-${side} source`} data-handleid={side} data-handlepos={side} />
));

function Handles() {
  return SIDES.map((side) => <Handle key={side} id={side} type="source" position={side} />);
}

const noSubscription = () => () => {};

/** It alone is selected. */
function useIsAlone(isSelected: boolean): boolean {
  const { scene } = useEditing();
  return useSyncExternalStore(
    isSelected ? scene.subscribe : noSubscription,
    () => isSelected && scene.selection.size === 1,
  );
}
