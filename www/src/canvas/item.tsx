/** What cards and boxes share: the frame to resize by, the handles to connect from, and the text being typed. */

import { Handle, NodeResizer, useConnection } from '@xyflow/react';
import { useMemo, useState, useSyncExternalStore } from 'react';
import { continueList } from '../tasks.js';
import { useEditing } from './editing.js';
import { type Rect, SIZE_MIN } from './geometry.js';
import { cssColor, SIDES } from './model.js';

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
    </div>
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

export interface DraftProps {
  readonly label: string;
  readonly value: string;
  readonly multiline?: boolean;
  readonly onInput: (value: string) => void;
  readonly onEnd: (isByKey?: boolean) => void;
}

/** The text being typed. Every keystroke is an edit, so that a crash costs none; the engine folds them. */
export function Draft({ label, value, multiline = false, onInput, onEnd }: DraftProps) {
  const Field = multiline ? 'textarea' : 'input';
  const onKeyDown = (event: React.KeyboardEvent<HTMLTextAreaElement & HTMLInputElement>) => {
    event.stopPropagation();
    const isEnter = event.key === 'Enter' && !event.nativeEvent.isComposing;
    if (event.key === 'Escape' || (isEnter && (!multiline || event.ctrlKey || event.metaKey))) onEnd(true);
    else if (isEnter && !event.shiftKey) goOn(event);
  };
  const goOn = (event: React.KeyboardEvent<HTMLTextAreaElement & HTMLInputElement>) => {
    const field = event.currentTarget;
    const { selectionStart, selectionEnd } = field;
    const added = selectionStart === selectionEnd ? continueList(field.value, selectionStart ?? 0) : undefined;
    if (!added) return;
    event.preventDefault();
    field.setRangeText(added.text, added.from, added.to, 'end');
    onInput(field.value);
  };
  return (
    <Field
      className="draft nodrag nopan nowheel"
      aria-label={label}
      data-testid="draft"
      defaultValue={value}
      autoFocus
      onFocus={({ currentTarget }) => currentTarget.setSelectionRange(value.length, value.length)}
      onInput={(event) => onInput(event.currentTarget.value)}
      onBlur={() => onEnd()}
      onKeyDown={onKeyDown}
    />
  );
}
