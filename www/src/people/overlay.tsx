/**
 * The others on the canvas: their pointers, and a frame around what they have selected. It lies over the canvas, in the same
 * `ReactFlowProvider`, and follows its viewport; it also says where this person is.
 */

import { type ReactFlowState, useReactFlow, useStore, useViewport } from '@xyflow/react';
import { useEffect, useRef } from 'react';
import { useSeenByOthers } from '../panel/inspection.js';
import { useDatabase } from '../space.js';
import { colorOf, nameOf } from './me.js';
import { type Person, type Place, useOthers, usePeople } from './people.js';

/** Asked at every change of the canvas, so it makes nothing but what it returns. */
function selectedIds({ nodes }: ReactFlowState): string[] {
  const ids: string[] = [];
  for (const node of nodes) if (node.selected) ids.push(node.id);
  return ids;
}
const sameIds = (a: string[], b: string[]) => a.length === b.length && a.every((id, index) => id === b[index]);

export function PeopleOverlay() {
  const others = useOthers();
  useSeenByOthers(others);
  const overlay = useRef<HTMLDivElement>(null);
  return (
    <div ref={overlay} className="people-overlay" aria-hidden data-testid="people-overlay">
      {others.length > 0 && <Drawn others={others} />}
      {others.length > 0 && <Pointing overlay={overlay} />}
    </div>
  );
}

/** Only where there is somebody: it is drawn again whenever the view moves. */
function Drawn({ others }: { others: readonly (Person & { readonly id: string })[] }) {
  const { x, y, zoom } = useViewport();
  const onScreen = (place: Place) => ({ x: place.x * zoom + x, y: place.y * zoom + y });
  return (
    <>
      {others.flatMap((person) =>
        person.selection.map((id) => (
          <SelectionFrame key={`${person.id} ${id}`} id={id} person={person} onScreen={onScreen} zoom={zoom} />
        )),
      )}
      {others.map(
        (person) => person.cursor && <Cursor key={person.id} person={person} place={onScreen(person.cursor)} />,
      )}
    </>
  );
}

function Cursor({ person, place }: { person: Person; place: Place }) {
  return (
    <div
      className="cursor"
      data-testid="cursor"
      style={{ transform: `translate(${place.x}px, ${place.y}px)`, color: colorOf(person.color) }}
    >
      <svg width="20" height="20" viewBox="0 0 20 20" aria-hidden="true">
        <path d="M2 2l6 16 2.6-7L18 8.4z" fill="currentColor" stroke="var(--paper)" strokeWidth="1.5" />
      </svg>
      <span style={{ background: colorOf(person.color) }}>{nameOf(person)}</span>
    </div>
  );
}

interface SelectionFrameProps {
  readonly id: string;
  readonly person: Person;
  readonly onScreen: (place: Place) => Place;
  readonly zoom: number;
}

function SelectionFrame({ id, person, onScreen, zoom }: SelectionFrameProps) {
  const db = useDatabase();
  const row = db.tables.card.get(id) ?? db.tables.box.get(id);
  if (!row) return null;
  const { x, y } = onScreen(row);
  return (
    <div
      className="others-selection"
      data-testid="others-selection"
      style={{
        transform: `translate(${x}px, ${y}px)`,
        width: row.width * zoom,
        height: row.height * zoom,
        color: colorOf(person.color),
      }}
    />
  );
}

/** Tells the others where the pointer is, while it is over the canvas, and what is selected. Alone, nobody has to be told. */
function Pointing({ overlay }: { overlay: React.RefObject<HTMLDivElement | null> }) {
  const { point } = usePeople();
  const flow = useReactFlow();
  const selection = useStore(selectedIds, sameIds);
  const cursor = useRef<Place | null>(null);
  useEffect(() => {
    point(cursor.current, selection);
    const canvas = overlay.current?.parentElement;
    if (!canvas) return;
    const move = (event: PointerEvent) => {
      const { x, y } = flow.screenToFlowPosition({ x: event.clientX, y: event.clientY }, { snapToGrid: false });
      cursor.current = { x: Math.round(x), y: Math.round(y) };
      point(cursor.current, selection);
    };
    const leave = () => {
      cursor.current = null;
      point(null, selection);
    };
    canvas.addEventListener('pointermove', move);
    canvas.addEventListener('pointerleave', leave);
    return () => {
      canvas.removeEventListener('pointermove', move);
      canvas.removeEventListener('pointerleave', leave);
    };
  }, [overlay, point, flow, selection]);
  return null;
}
