/** What cards and boxes share: the frame to resize by and the handles to connect from. */

import { Handle, NodeResizer } from '@xyflow/react';
import { move } from '../edits.js';
import { useDatabase } from '../space.js';
import { useEditing } from './editing.js';
import { SIDES } from './model.js';

export function Item({ id, selected, minHeight }: { id: string; selected: boolean; minHeight: number }) {
  const db = useDatabase();
  const { attempt } = useEditing();
  return (
    <>
      <NodeResizer
        isVisible={selected}
        minWidth={80}
        minHeight={minHeight}
        onResizeEnd={(_event, { x, y, width, height }) => attempt(() => move(db, [{ id, x, y, width, height }]))}
      />
      {SIDES.map((side) => (
        <Handle key={side} id={side} type="source" position={side} />
      ))}
    </>
  );
}

export interface DraftProps {
  label: string;
  value: string;
  multiline?: boolean;
  onInput: (value: string) => void;
  onEnd: () => void;
}

/** The text being typed. Every keystroke is an edit, so that a crash costs none; the engine folds them. */
export function Draft({ label, value, multiline = false, onInput, onEnd }: DraftProps) {
  const Field = multiline ? 'textarea' : 'input';
  return (
    <Field
      className="draft nodrag nopan nowheel"
      aria-label={label}
      data-testid="draft"
      defaultValue={value}
      autoFocus
      onInput={(event) => onInput(event.currentTarget.value)}
      onBlur={onEnd}
      onKeyDown={(event) => {
        event.stopPropagation();
        if (event.key === 'Escape' || (event.key === 'Enter' && (!multiline || event.ctrlKey || event.metaKey)))
          onEnd();
      }}
    />
  );
}
