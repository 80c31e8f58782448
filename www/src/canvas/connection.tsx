import {
  BaseEdge,
  EdgeLabelRenderer,
  type EdgeProps,
  getBezierPath,
  type InternalNode,
  Position,
  useInternalNode,
} from '@xyflow/react';
import { memo } from 'react';
import type { ConnectionEdge } from './model.js';

export const Connection = memo(function Connection(props: EdgeProps<ConnectionEdge>) {
  const { source, target, data, selected, markerStart, markerEnd, style } = props;
  const start = useInternalNode(source);
  const end = useInternalNode(target);
  if (!start || !end || !data) return null;
  const { row, type } = data;
  const from = attach(start, end, row.from_side);
  const to = attach(end, start, row.to_side);
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
        interactionWidth={20}
        {...(markerStart && { markerStart })}
        {...(markerEnd && { markerEnd })}
      />
      {label && (
        <EdgeLabelRenderer>
          <div
            className={`connection-label${selected ? ' is-selected' : ''}`}
            style={{ transform: `translate(-50%, -50%) translate(${x}px, ${y}px)` }}
          >
            {label}
          </div>
        </EdgeLabelRenderer>
      )}
    </>
  );
});

/** Where a connection meets a node. A side that the row leaves open is the one that faces the other node. */
function attach(
  node: InternalNode,
  other: InternalNode,
  side: string | null,
): { x: number; y: number; side: Position } {
  const a = rectangle(node);
  const b = rectangle(other);
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

function rectangle(node: InternalNode) {
  const { width = 0, height = 0 } = node.measured;
  return { ...node.internals.positionAbsolute, width, height };
}
