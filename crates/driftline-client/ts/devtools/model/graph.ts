/**
 * The outbox as a graph: a transaction to the right of whatever it comes after, and otherwise in sending order, from the top. What hangs
 * together has a band of its own, and what stands alone is set in lines, as words are.
 */

import type { OutboxEntry } from '../../status.js';

/** More than anyone reads; how many others there are is told. */
export const NODES_MAX = 200;
/** So many that stand alone go into a line. */
const ALONE_IN_LINE = 4;

export const NODE = { width: 158, height: 46, gapX: 38, gapY: 12, margin: 12 } as const;

/** `waits`: the engine says that it waits for this. `uses`: a row of it refers to a row that the other makes. */
export type EdgeKind = 'waits' | 'uses';

export interface GraphNode {
  /** A key, or `table id` of a row that nobody known here has made. */
  readonly key: string;
  readonly entry: OutboxEntry | undefined;
  /** In sending order, from 1; 0 for a row. */
  readonly place: number;
  readonly x: number;
  readonly y: number;
}

export interface GraphEdge {
  readonly from: string;
  readonly to: string;
  readonly kind: EdgeKind;
  /** A curve from the right side of what comes first to the left side of what comes after. */
  readonly path: string;
}

export interface Graph {
  readonly nodes: readonly GraphNode[];
  readonly edges: readonly GraphEdge[];
  readonly width: number;
  readonly height: number;
  /** Transactions that are not drawn. */
  readonly more: number;
}

/** The values of a row as the app sees it; `undefined` where there is none. */
export type RowOf = (table: string, id: string) => object | undefined;

interface Link {
  readonly from: string;
  readonly to: string;
  readonly kind: EdgeKind;
}

export function layOut(entries: readonly OutboxEntry[], rowOf: RowOf): Graph {
  const drawn = entries.slice(0, NODES_MAX);
  const { links, rows } = linksOf(drawn, rowOf);
  const byKey = new Map(drawn.map((entry, index) => [entry.key, { entry, place: index + 1 }]));
  const order = [...rows, ...byKey.keys()];
  const positions = place(order, links);
  const nodes = order.map((key) => {
    const known = byKey.get(key);
    const { x, y } = positions.get(key) ?? { x: 0, y: 0 };
    return { key, entry: known?.entry, place: known?.place ?? 0, x, y };
  });
  const edges = links.map((link) => ({ ...link, path: curve(positions.get(link.from), positions.get(link.to)) }));
  const right = Math.max(0, ...nodes.map(({ x }) => x + NODE.width));
  const bottom = Math.max(0, ...nodes.map(({ y }) => y + NODE.height));
  return {
    nodes,
    edges,
    width: right + NODE.margin,
    height: bottom + NODE.margin,
    more: entries.length - drawn.length,
  };
}

/** What comes after what, and the rows that are waited for. */
export function linksOf(entries: readonly OutboxEntry[], rowOf: RowOf): { links: Link[]; rows: string[] } {
  const keys = new Set(entries.map(({ key }) => key));
  const [rows, links] = [new Set<string>(), new Map<string, Link>()];
  const link = (from: string, to: string, kind: EdgeKind) => {
    if (from !== to && !links.has(`${from}>${to}`)) links.set(`${from}>${to}`, { from, to, kind });
  };
  for (const { key, waits_on } of entries) {
    for (const awaited of waits_on) {
      const isRow = awaited.includes(' ');
      if (isRow) rows.add(awaited);
      if (isRow || keys.has(awaited)) link(awaited, key, 'waits');
    }
  }
  for (const { key, dependents = [] } of entries) {
    for (const dependent of dependents) if (keys.has(dependent)) link(key, dependent, 'waits');
  }
  const makers = makersOf(entries);
  for (const entry of entries) {
    for (const maker of usedBy(entry, makers, rowOf)) link(maker, entry.key, 'uses');
  }
  return { links: [...links.values()], rows: [...rows] };
}

/** Who makes which row: the id is enough, no two rows have the same. */
function makersOf(entries: readonly OutboxEntry[]): Map<string, string> {
  const makers = new Map<string, string>();
  for (const { key, edits } of entries) {
    for (const { op, id } of edits) if (op === 'create' || op === 'restore') makers.set(id, key);
  }
  return makers;
}

function usedBy(entry: OutboxEntry, makers: ReadonlyMap<string, string>, rowOf: RowOf): Set<string> {
  const used = new Set<string>();
  for (const { op, table, id } of entry.edits) {
    const referred = op === 'delete' ? [] : Object.values(rowOf(table, id) ?? {}).flatMap(idsIn);
    for (const one of [id, ...referred]) {
      const maker = makers.get(one);
      if (maker !== undefined && maker !== entry.key) used.add(maker);
    }
  }
  return used;
}

/** A reference is an id, or an object with one member, the table, whose value is the id. */
function idsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [];
  const values = Object.values(value);
  return values.length === 1 && typeof values[0] === 'string' ? values : [];
}

/** The length of the longest way that leads to each; a way that comes back to itself (a cycle travels as one) ends there. */
function layersOf(order: readonly string[], links: readonly Link[]): Map<string, number> {
  const before = new Map<string, string[]>(order.map((key) => [key, []]));
  for (const { from, to } of links) before.get(to)?.push(from);
  const layers = new Map<string, number>();
  const open = new Set<string>();
  const layerOf = (key: string): number => {
    const known = layers.get(key);
    if (known !== undefined) return known;
    if (open.has(key)) return -1;
    open.add(key);
    const layer = Math.max(-1, ...(before.get(key) ?? []).map(layerOf)) + 1;
    open.delete(key);
    layers.set(key, layer);
    return layer;
  };
  for (const key of order) layerOf(key);
  return layers;
}

interface Place {
  readonly x: number;
  readonly y: number;
}

function place(order: readonly string[], links: readonly Link[]): Map<string, Place> {
  const layers = layersOf(order, links);
  const positions = new Map<string, Place>();
  const put = (key: string, column: number, row: number) => {
    const x = NODE.margin + column * (NODE.width + NODE.gapX);
    positions.set(key, { x, y: NODE.margin + row * (NODE.height + NODE.gapY) });
  };
  let [top, alone] = [0, 0];
  for (const band of bandsOf(order, links)) {
    const [first] = band;
    if (band.length === 1 && first !== undefined) {
      put(first, alone % ALONE_IN_LINE, top + Math.floor(alone / ALONE_IN_LINE));
      alone += 1;
      continue;
    }
    top += Math.ceil(alone / ALONE_IN_LINE);
    alone = 0;
    const rows = rowsOf(band, links, layers);
    for (const key of band) put(key, layers.get(key) ?? 0, top + (rows.get(key) ?? 0));
    top += Math.max(...rows.values()) + 1;
  }
  return positions;
}

/** What hangs together, the first to be sent first. */
function bandsOf(order: readonly string[], links: readonly Link[]): string[][] {
  const beside = new Map<string, string[]>(order.map((key) => [key, []]));
  for (const { from, to } of links) {
    beside.get(from)?.push(to);
    beside.get(to)?.push(from);
  }
  const seen = new Set<string>();
  const bands: string[][] = [];
  // A row is there only for what waits for it, and comes with that.
  for (const start of order.filter((key) => !key.includes(' '))) {
    if (seen.has(start)) continue;
    const band = new Set([start]);
    for (const key of band) for (const other of beside.get(key) ?? []) band.add(other);
    for (const key of band) seen.add(key);
    bands.push(order.filter((key) => band.has(key)));
  }
  return bands;
}

/** Each in its column no higher than what it comes after: a first child stands beside its parent. */
function rowsOf(
  band: readonly string[],
  links: readonly Link[],
  layers: ReadonlyMap<string, number>,
): Map<string, number> {
  const members = new Set(band);
  const before = new Map<string, string[]>(band.map((key) => [key, []]));
  for (const { from, to } of links) if (members.has(to)) before.get(to)?.push(from);
  const free: number[] = [];
  const rows = new Map<string, number>();
  for (const key of band) {
    const layer = layers.get(key) ?? 0;
    const parents = (before.get(key) ?? []).flatMap((parent) => rows.get(parent) ?? []);
    // Nor higher than what is further to the right already, which goes before it.
    const row = Math.max(
      free[layer] ?? 0,
      ...parents,
      layer === 0 ? Math.max(0, ...rows.values()) + (rows.size > 0 ? 1 : 0) : 0,
    );
    rows.set(key, row);
    free[layer] = row + 1;
  }
  return rows;
}

function curve(from = { x: 0, y: 0 }, to = { x: 0, y: 0 }): string {
  const [x1, y1] = [from.x + NODE.width, from.y + NODE.height / 2];
  const [x2, y2] = [to.x, to.y + NODE.height / 2];
  const bend = Math.max(NODE.gapX / 2, Math.abs(x2 - x1) / 2);
  return `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
}
