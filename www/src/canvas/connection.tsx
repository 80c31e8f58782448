import {
  BaseEdge,
  EdgeLabelRenderer,
  type EdgeProps,
  getBezierPath,
  type InternalNode,
  Position,
  useInternalNode,
} from '@xyflow/react';
import { memo, useSyncExternalStore } from 'react';
import { useEditing } from './editing.js';
import { NOWHERE, type Place, type Rect } from './geometry.js';
import type { ConnectionEdge } from './model.js';

export const Connection = memo(function Connection(props: EdgeProps<ConnectionEdge>) {
  const { source, target, data, selected, markerStart, markerEnd, style } = props;
  const start = useInternalNode(source);
  const end = useInternalNode(target);
  // Where both ends are carried, all of it is, as it is drawn.
  const isHeld = data?.isHeld ?? false;
  const startBy = useCarriedBy(source, isHeld);
  const endBy = useCarriedBy(target, isHeld);
  if (!start || !end || !data) return null;
  const { row, type } = data;
  const [a, b] = [rectangle(start, startBy), rectangle(end, endBy)];
  const from = attach(a, b, row.from_side);
  const to = attach(b, a, row.to_side);
  const [path, x, y] = getBezierPath({
    sourceX: from.x,
    sourceY: from.y,
    sourcePosition: from.side,
    targetX: to.x,
    targetY: to.y,
    targetPosition: to.side,
  });
  const label = row.label ?? type?.name;
  return (
    <>
      <BaseEdge
        path={path}
        style={{ ...style, strokeWidth: selected ? 3 : 2 }}
        interactionWidth={startBy === endBy ? 20 : 0}
        {...(markerStart && { markerStart })}
        {...(markerEnd && { markerEnd })}
      />
      {label && (
        <EdgeLabelRenderer>
          <div
            className={`connection-label${selected ? ' is-selected' : ''}${isHeld ? ' is-held' : ''}`}
            style={{ transform: `translate(-50%, -50%) translate(${x}px, ${y}px)` }}
          >
            {label}
          </div>
        </EdgeLabelRenderer>
      )}
    </>
  );
});

/** How far a hand has carried an item from where its node says. */
function useCarriedBy(id: string, isDrawnThere: boolean): Place {
  const { scene } = useEditing();
  return useSyncExternalStore(scene.subscribe, () => (isDrawnThere ? NOWHERE : scene.carriedBy(id)));
}

/** Where a connection meets an item. A side that the row leaves open is the one that faces the other item. */
function attach(a: Rect, b: Rect, side: string | null): { x: number; y: number; side: Position } {
  const dx = b.x + b.width / 2 - (a.x + a.width / 2);
  const dy = b.y + b.height / 2 - (a.y + a.height / 2);
  const isBeside = Math.abs(dx) / (a.width + b.width) > Math.abs(dy) / (a.height + b.height);
  const facing = isBeside ? (dx > 0 ? Position.Right : Position.Left) : dy > 0 ? Position.Bottom : Position.Top;
  switch (side ?? facing) {
    case Position.Left:
      return { x: a.x, y: a.y + a.height / 2, side: Position.Left };
    case Position.Right:
      return { x: a.x + a.width, y: a.y + a.height / 2, side: Position.Right };
    case Position.Top:
      return { x: a.x + a.width / 2, y: a.y, side: Position.Top };
    default:
      return { x: a.x + a.width / 2, y: a.y + a.height, side: Position.Bottom };
  }
}

function rectangle({ measured, internals }: InternalNode, by: Place): Rect {
  const { width = 0, height = 0 } = measured;
  const { x, y } = internals.positionAbsolute;
  return { x: x + by.x, y: y + by.y, width, height };
}
