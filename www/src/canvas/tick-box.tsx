/** Boxes to tick in a card's list, each called by the words beside it. */

import { Children, createContext, isValidElement, type ReactNode, useContext } from 'react';

const Words = createContext('');

/** An entry of a list. */
export function ListItem({ children }: { children?: ReactNode }) {
  const hasBox = Children.toArray(children).some((child) => isValidElement(child) && child.type === TickBox);
  return <li>{hasBox ? <Words value={wordsOf(children)}>{children}</Words> : children}</li>;
}

export function TickBox({ checked = false }: { checked?: boolean }) {
  return (
    <input
      type="checkbox"
      className="nodrag"
      tabIndex={-1}
      aria-label={useContext(Words) || 'Task without words'}
      checked={checked}
      readOnly
      onDoubleClick={(event) => event.stopPropagation()}
    />
  );
}

/** What can be read in it, without the lists in it. */
function wordsOf(node: ReactNode): string {
  return Children.toArray(node).map(textOf).join('').replaceAll(/\s+/g, ' ').trim();
}

function textOf(node: ReactNode): string {
  if (typeof node === 'string' || typeof node === 'number') return String(node);
  if (!isValidElement<{ children?: ReactNode }>(node) || node.type === 'ul' || node.type === 'ol') return '';
  return wordsOf(node.props.children);
}
