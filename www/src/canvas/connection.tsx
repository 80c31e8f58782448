import { BaseEdge, EdgeLabelRenderer, type EdgeProps, type InternalNode, useInternalNode } from '@xyflow/react';
import { memo } from 'react';
import type { Rect } from './geometry.js';
import type { ConnectionEdge } from './model.js';
import { routeOf, transformOf } from './route.js';
import { useFocusLeft } from './use-focus.js';

export const Connection = memo(function Connection(props: EdgeProps<ConnectionEdge>) {
  const { id, source, target, data, selected, markerStart, markerEnd, style } = props;
  const start = useInternalNode(source);
  const end = useInternalNode(target);
  useFocusLeft(id);
  if (!start || !end || !data) return null;
  const { row, type, grip } = data;
  const route = routeOf(row, rectangle(start), rectangle(end));
  const label = row.label ?? type?.name;
  return (
    <>
      <BaseEdge
        path={route.path}
        style={{ ...style, strokeWidth: selected ? 3 : 2 }}
        interactionWidth={20}
        {...(markerStart && { markerStart })}
        {...(markerEnd && { markerEnd })}
      />
      {label && (
        <EdgeLabelRenderer>
          <div
            className={`connection-label${selected ? ' is-selected' : ''} ${grip ?? ''}`}
            data-of={id}
            style={{ transform: transformOf(route), zIndex: heightOf(id) }}
          >
            {label}
          </div>
        </EdgeLabelRenderer>
      )}
    </>
  );
});

/** In the page labels stand in the order in which they were first drawn; which of two lies above is to be the same on every screen. */
const heightOf = (id: string) => Number.parseInt(id.slice(-7), 16);

function rectangle({ measured, internals }: InternalNode): Rect {
  const { width = 0, height = 0 } = measured;
  return { ...internals.positionAbsolute, width, height };
}
