/**
 * What the node-graph library draws: the rows around what is in view, with what only this screen knows of them (what is
 * selected, and where something is while a hand is on it). Canvases may be far larger than what is on screen.
 */

import type { ChangedRows } from 'driftline';
import { rowIdOf } from '../edits.js';
import type { Connection } from '../schema.js';
import type { Database } from '../space.js';
import {
  boundsOf,
  centerOf,
  contains,
  distance,
  grow,
  intersects,
  NOWHERE,
  type Place,
  type Placed,
  type Rect,
  shift,
} from './geometry.js';
import { type CanvasNode, type ConnectionEdge, gripOf, makeEdge, makeNode, sameNodeOr } from './model.js';
import { type Route, routeOf } from './route.js';
import type { Guide } from './snap.js';

export interface Drawn {
  readonly nodes: CanvasNode[];
  readonly edges: ConnectionEdge[];
  readonly selection: ReadonlySet<string>;
  readonly isEmpty: boolean;
}

/** Where an item is, and of which size, while a hand is on it. */
export type Held = Place & Partial<Rect>;
const NOTHING: ReadonlyMap<string, Held> = new Map();

/** So many new items are drawn at once; where there are more, twice as many follow with each paint, so that none of them freezes the page. */
const AT_ONCE = 64;

/** Calls back once what is drawn now is on screen. */
export type AfterPaint = (act: () => void) => void;
const afterPaint: AfterPaint = (act) => requestAnimationFrame(() => setTimeout(act));

/** Where what a hand carries is shown. */
export interface Carrying {
  /** From where it is held. */
  readonly by: Place;
  /** Of the connections that lead from it to what stays, by their ids. */
  readonly routes: Iterable<readonly [string, Route]>;
  /** The lines that it has come to rest on. */
  readonly guides: readonly Guide[];
}

/** Shows what is held elsewhere than its nodes say, without any node being made anew. */
export interface Carried {
  readonly to: (carrying: Carrying) => void;
  /** What is held has changed, or is where its nodes say. */
  readonly drop: () => void;
}

export class Scene {
  readonly #db: Database;
  readonly #listeners = new Set<() => void>();
  readonly #nodes = new Map<string, CanvasNode>();
  readonly #edges = new Map<string, ConnectionEdge>();
  /** Somewhat more than what is in view, so that panning a little brings nothing new. */
  #window: Rect = { x: -1, y: -1, width: 0, height: 0 };
  #selection: ReadonlySet<string> = new Set();
  #held = NOTHING;
  #lead: string | undefined;
  readonly #carried: Carried | undefined;
  readonly #afterPaint: AfterPaint;
  #isOutdated = false;
  #isFilling = false;
  #isFollowing = false;
  #drawn: Drawn = { nodes: [], edges: [], selection: this.#selection, isEmpty: true };

  constructor(db: Database, carried?: Carried, after = afterPaint) {
    this.#db = db;
    this.#carried = carried;
    this.#afterPaint = after;
  }

  /** Follows the rows until the function that it returns is called. */
  follow(): () => void {
    this.#isFollowing = true;
    this.#fill();
    const stop = this.#db.subscribe((changed) => this.#apply(changed));
    return () => {
      this.#isFollowing = false;
      stop();
    };
  }

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  };

  read = (): Drawn => this.#drawn;

  /** Items that are on screen or close by. */
  get around(): readonly Placed[] {
    return this.#drawn.nodes.map(({ id, position, width = 0, height = 0 }) => ({ id, ...position, width, height }));
  }

  /** A hand is on something. */
  get isHolding(): boolean {
    return this.#held.size > 0;
  }

  /** What is held, or leads to it, has changed since: its copies show what was. */
  get isOutdated(): boolean {
    return this.#isOutdated;
  }

  /** More follows with the next paint. */
  get isFilling(): boolean {
    return this.#isFilling;
  }

  isDrawn(id: string): boolean {
    return this.#nodes.has(id) || this.#edges.has(id);
  }

  get selection(): ReadonlySet<string> {
    return this.#selection;
  }

  /** Says what is in view. */
  look(view: Rect): void {
    if (contains(this.#window, view) && this.#window.width < view.width * 4) return;
    this.#window = grow(view, { x: view.width / 2, y: view.height / 2 });
    this.#fill();
  }

  select(ids: Iterable<string>): void {
    const before = this.#selection;
    this.#selection = new Set(ids);
    const changed = [...before, ...this.#selection].filter((id) => before.has(id) !== this.#selection.has(id));
    if (changed.length === 0) return;
    this.#remake(changed);
    this.#tell();
  }

  /** Shows items elsewhere than their rows say, until it is called with fewer. `lead` is the one that the hand is on: it is always drawn. */
  hold(places: ReadonlyMap<string, Held>, lead?: string): void {
    const ids = new Set([...this.#held.keys(), ...places.keys()]);
    this.#held = places;
    this.#lead = lead;
    this.#carried?.drop();
    const comes = [...ids].some((id) => this.#comesNear(id));
    this.#remake(ids);
    for (const [id, edge] of this.#edges) {
      if (edge.data?.grip !== gripOf(edge, places)) this.#put(this.#edges, id, this.#edge(id));
    }
    if (comes) this.#fill();
    this.#isOutdated = false;
    this.#tell();
  }

  /** Shows what is held that far from where it is held, with the lines that it has come to rest on. */
  carry(by: Place, guides: readonly Guide[]): void {
    this.#carried?.to({ by, routes: this.#routes(by), guides });
  }

  /** Of the connections that have one end in the hand. */
  *#routes(by: Place): Iterable<readonly [string, Route]> {
    for (const [id, { data, source, target }] of this.#edges) {
      if (data?.grip !== 'is-loose') continue;
      const [start, end] = [source, target].map((end) => this.#shown(end, by));
      if (start && end) yield [id, routeOf(data.row, start, end)];
    }
  }

  #shown(id: string, by: Place): Rect | undefined {
    const node = this.#nodes.get(id);
    if (!node) return undefined;
    const { position, width = 0, height = 0 } = node;
    return shift({ ...position, width, height }, this.#held.has(id) ? by : NOWHERE);
  }

  release(): void {
    this.hold(NOTHING);
  }

  #remake(ids: Iterable<string>): void {
    for (const id of ids) {
      const node = this.#nodes.get(id);
      if (node) this.#put(this.#nodes, id, sameNodeOr(node, this.#node(id, node)));
      const edge = node ? undefined : this.#edges.get(id);
      if (edge) this.#put(this.#edges, id, this.#edge(id));
    }
  }

  #node(id: string, before?: CanvasNode): CanvasNode | undefined {
    return makeNode(this.#db, id, { before, isSelected: this.#selection.has(id), held: this.#held.get(id) });
  }

  #edge(id: string): ConnectionEdge | undefined {
    return makeEdge(this.#db, id, { isSelected: this.#selection.has(id), held: this.#held });
  }

  #put<T extends CanvasNode | ConnectionEdge>(map: Map<string, T>, id: string, made: T | undefined): void {
    const before = map.get(id);
    if (made === before) return;
    this.#isOutdated ||= isGripped(before) || isGripped(made);
    if (made) map.set(id, made);
    else map.delete(id);
  }

  #rect(id: string): Rect | undefined {
    return this.#db.tables.card.get(id) ?? this.#db.tables.box.get(id);
  }

  /** Where it is shown: a hand that is on many writes only at the end. */
  #place(id: string): Rect | undefined {
    const rect = this.#rect(id);
    return rect && { ...rect, ...this.#held.get(id) };
  }

  #isNear(id: string): boolean {
    const place = this.#place(id);
    return place !== undefined && (id === this.#lead || intersects(place, this.#window));
  }

  /** It is to be drawn near, where it was not: that brings its connections, and their other ends, along. */
  #comesNear(id: string): boolean {
    const was = this.#shown(id, NOWHERE);
    return !(was && intersects(was, this.#window)) && this.#isNear(id);
  }

  /** A connection may cross the window though both of its ends lie outside. */
  #crosses(row: Connection): boolean {
    const start = this.#place(rowIdOf(row.start_item));
    const end = this.#place(rowIdOf(row.end_item));
    const bounds = start && end && boundsOf([start, end]);
    return bounds !== undefined && intersects(bounds, this.#window);
  }

  #fill(most = AT_ONCE): void {
    const { card, box, connection } = this.#db.tables;
    const wanted = new Set<string>();
    for (const row of [...box.query(), ...card.query()]) if (this.#isNear(row.id)) wanted.add(row.id);
    const crossing = new Set<string>();
    for (const row of connection.query()) {
      if (!this.#crosses(row)) continue;
      crossing.add(row.id);
      wanted.add(rowIdOf(row.start_item)).add(rowIdOf(row.end_item));
    }
    for (const id of this.#nodes.keys()) if (!wanted.has(id)) this.#put(this.#nodes, id, undefined);
    for (const id of this.#edges.keys()) if (!crossing.has(id)) this.#put(this.#edges, id, undefined);
    const missing = [...wanted].filter((id) => !this.#nodes.has(id));
    for (const id of this.#first(missing, most)) this.#put(this.#nodes, id, this.#node(id));
    for (const id of crossing) if (!this.#edges.has(id)) this.#put(this.#edges, id, this.#edgeOfDrawn(id));
    this.#tell();
    if (missing.length > most) this.#fillMore(most * 2);
  }

  #fillMore(most: number): void {
    if (this.#isFilling) return;
    this.#isFilling = true;
    this.#afterPaint(() => {
      this.#isFilling = false;
      if (this.#isFollowing) this.#fill(most);
    });
  }

  /** So many of these items: what is selected, and what is nearest to the middle of the window. */
  #first(ids: readonly string[], most: number): readonly string[] {
    if (ids.length <= most) return ids;
    const middle = centerOf(this.#window);
    const rank = (id: string) => {
      const rect = this.#rect(id);
      return rect === undefined || this.#selection.has(id) ? -1 : distance(centerOf(rect), middle);
    };
    const ranked = ids.map((id) => [rank(id), id] as const).sort(([a], [b]) => a - b);
    return ranked.slice(0, most).map(([, id]) => id);
  }

  #edgeOfDrawn(id: string): ConnectionEdge | undefined {
    const edge = this.#edge(id);
    return edge && this.#nodes.has(edge.source) && this.#nodes.has(edge.target) ? edge : undefined;
  }

  #apply(changed: ChangedRows): void {
    const items = [...(changed.get('card') ?? []), ...(changed.get('box') ?? [])];
    const connections = new Set(changed.get('connection'));
    this.#forget(items, connections);
    const comes = items.some((id) => this.#comesNear(id));
    this.#remake(items);
    const types = changed.get('connection_type');
    for (const [id, edge] of this.#edges) if (types?.has(edge.data?.type?.id ?? '')) connections.add(id);
    for (const id of this.#edges.keys()) if (connections.has(id)) this.#put(this.#edges, id, this.#edge(id));
    const isNewEdge = (id: string) => !this.#edges.has(id) && this.#db.tables.connection.get(id) !== undefined;
    if (comes || [...connections].some(isNewEdge)) this.#fill();
    else this.#tell();
  }

  /** What was deleted is not selected any more. */
  #forget(items: readonly string[], connections: ReadonlySet<string>): void {
    const isGone = (id: string) => !this.#rect(id) && !this.#db.tables.connection.get(id);
    const gone = [...items, ...connections].filter((id) => this.#selection.has(id) && isGone(id));
    if (gone.length > 0) this.#selection = new Set([...this.#selection].filter((id) => !gone.includes(id)));
  }

  #tell(): void {
    const { card, box } = this.#db.tables;
    this.#drawn = {
      // The same list where it is the same, because the library goes through all of a new one.
      nodes: inOrder(this.#drawn.nodes, this.#nodes),
      edges: inOrder(this.#drawn.edges, this.#edges),
      selection: this.#selection,
      isEmpty: card.size + box.size === 0,
    };
    for (const listener of this.#listeners) listener();
  }
}

/** A hand is on it, or on one of its ends. */
const isGripped = (one: CanvasNode | ConnectionEdge | undefined) => one?.className !== undefined;

/** By their ids, and so by when they were made: what lies above of two at the same height is the same on every screen. */
function inOrder<T extends { id: string }>(before: T[], now: ReadonlyMap<string, T>): T[] {
  if (before.length !== now.size || !before.every(({ id }) => now.has(id)))
    return [...now.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  return before.every((one) => now.get(one.id) === one) ? before : before.map((one) => now.get(one.id) ?? one);
}
