/** Views are functions that return what is to be there; this brings the document to it, and touches only what is another. */

type Handler = (event: never) => void;

interface Props {
  readonly key?: string;
  readonly on?: Readonly<Record<string, Handler>>;
  readonly [attribute: string]: unknown;
}

export interface Node {
  readonly tag: string;
  readonly props: Props;
  readonly children: readonly (Node | string)[];
}

export type Child = Node | string | number | null | undefined | false | readonly Child[];

export function h(tag: string, props: Props | null, ...children: Child[]): Node {
  const flat: (Node | string)[] = [];
  flatten(children, flat);
  return { tag, props: props ?? {}, children: flat };
}

function flatten(children: readonly Child[], into: (Node | string)[]): void {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (typeof child === 'string' || typeof child === 'number') into.push(String(child));
    else if (isList(child)) flatten(child, into);
    else into.push(child);
  }
}

const isList = (child: Child): child is readonly Child[] => Array.isArray(child);

const SVG = 'http://www.w3.org/2000/svg';
/** Members of elements that differ from the attributes of the same name once somebody has typed or clicked. */
const LIVE = new Set(['value', 'checked', 'open']);

const shown = new WeakMap<Element, Node>();

const FOCUSABLE = 'button, select, input, [tabindex="0"]';

/** Draws all of a shadow root. Where what had the focus goes, the focus goes to what is next to its place, and not to the page. */
export function drawAll(root: ShadowRoot, app: Element, children: readonly (Node | string)[]): void {
  const focused = root.activeElement;
  const around: Element[] = [];
  for (let element = focused; element; element = element.parentElement) around.push(element);
  draw(app, children);
  if (!focused || focused.isConnected || root.activeElement) return;
  const near = around.find((element) => element.isConnected);
  near?.querySelector<HTMLElement>(FOCUSABLE)?.focus();
}

/** Makes the children of an element be these. */
function draw(parent: Element, children: readonly (Node | string)[]): void {
  const left = new Set<ChildNode>(parent.childNodes);
  const keyed = new Map<string, Element>();
  for (const child of left) {
    const key = child instanceof Element && shown.get(child)?.props.key;
    if (key) keyed.set(key, child as Element);
  }
  let place: ChildNode | null = parent.firstChild;
  for (const child of children) {
    const found = match(child, place, keyed, left);
    const node = found ?? create(child, parent);
    left.delete(node);
    if (node === place) place = place.nextSibling;
    else parent.insertBefore(node, place);
    if (typeof child === 'string') {
      if (node.textContent !== child) node.textContent = child;
    } else update(node as Element, child);
  }
  for (const child of left) child.remove();
}

/** What is there already and may become `child`: by its key, or else what stands at this place. */
function match(
  child: Node | string,
  place: ChildNode | null,
  keyed: ReadonlyMap<string, Element>,
  left: ReadonlySet<ChildNode>,
): ChildNode | undefined {
  if (typeof child === 'string') return place && left.has(place) && place.nodeType === 3 ? place : undefined;
  if (child.props.key !== undefined) return keyed.get(child.props.key);
  const before = place instanceof Element && left.has(place) ? shown.get(place) : undefined;
  return before && before.tag === child.tag && before.props.key === undefined ? (place as Element) : undefined;
}

function create(child: Node | string, parent: Element): ChildNode {
  if (typeof child === 'string') return document.createTextNode(child);
  const isSvg = child.tag === 'svg' || (parent.namespaceURI === SVG && parent.localName !== 'foreignObject');
  return isSvg ? document.createElementNS(SVG, child.tag) : document.createElement(child.tag);
}

function update(element: Element, node: Node): void {
  const before = shown.get(element);
  shown.set(element, node);
  // Children first: a select can take its value only once it has its options.
  draw(element, node.children);
  for (const name of Object.keys(before?.props ?? {})) {
    if (!(name in node.props)) setAttribute(element, name, undefined);
  }
  for (const [name, value] of Object.entries(node.props)) {
    if (name === 'on') listen(element, node, before);
    else if (name === 'autofocus') {
      if (value && !before) queueMicrotask(() => (element as HTMLElement).focus());
    } else if (name !== 'key' && (LIVE.has(name) || before?.props[name] !== value)) setAttribute(element, name, value);
  }
}

function setAttribute(element: Element, name: string, value: unknown): void {
  if (LIVE.has(name) && name in element) {
    const live = element as unknown as Record<string, unknown>;
    if (live[name] !== value) live[name] = value ?? '';
  } else if (value === undefined || value === null || value === false) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? '' : String(value));
}

/** An element has one listener for each event, which looks up what is to be done now. */
function listen(element: Element, node: Node, before: Node | undefined): void {
  for (const name of Object.keys(node.props.on ?? {})) {
    if (before?.props.on && name in before.props.on) continue;
    element.addEventListener(name, (event) => shown.get(element)?.props.on?.[name]?.(event as never));
  }
}
