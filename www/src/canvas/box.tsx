import type { NodeProps } from '@xyflow/react';
import { memo } from 'react';
import { useDatabase } from '../space.js';
import { Draft, textOf } from './draft.js';
import { useEditing } from './editing.js';
import { Item } from './item.js';
import { type BoxNode, isSameFace } from './model.js';

export const Box = memo(function Box({ id, data: { row }, selected }: NodeProps<BoxNode>) {
  const db = useDatabase();
  const editing = useEditing();
  return (
    <Item id={id} kind="box" className="" color={row.color} isSelected={selected}>
      {/* biome-ignore lint/a11y/noStaticElementInteractions: the node around it takes the keyboard; double click is a short cut. */}
      <div
        className="box-label"
        onDoubleClick={(event) => {
          event.stopPropagation();
          editing.begin(id);
        }}
      >
        {editing.id === id ? (
          <Draft
            id={id}
            label="Name of the box"
            value={row.label ?? ''}
            read={() => textOf(db.tables.box.get(id)?.label)}
            write={(label) => db.tables.box.update(id, { label })}
          />
        ) : (
          row.label || 'Box'
        )}
      </div>
    </Item>
  );
}, isSameFace);
