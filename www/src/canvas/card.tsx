import { type NodeProps, useStore } from '@xyflow/react';
import { increment } from 'driftline';
import { ExternalLink, FileText, ThumbsUp } from 'lucide-react';
import Markdown from 'markdown-to-jsx';
import { memo } from 'react';
import { titleOf } from '../edits.js';
import type { Card as CardRow } from '../schema.js';
import { useDatabase } from '../space.js';
import { useEditing } from './editing.js';
import { Draft, Item } from './item.js';
import { type CardNode, cssColor } from './model.js';

/** Below this zoom nobody can read, so a card is drawn as its title alone. */
const READABLE_ZOOM = 0.4;
const MARKDOWN = {
  disableParsingRawHTML: true,
  forceBlock: true,
  overrides: { a: PassiveLink, img: { component: () => null } },
};

export const Card = memo(function Card({ id, data: { row }, selected }: NodeProps<CardNode>) {
  const db = useDatabase();
  const editing = useEditing();
  const isReadable = useStore((state) => state.transform[2] >= READABLE_ZOOM);
  const column = row.kind === 'file' ? 'file' : row.kind === 'link' ? 'url' : 'text';
  const tint = cssColor(row.color);
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: the node around it takes the keyboard; double click is a short cut.
    <div
      className={`card card-${column}${selected ? ' is-selected' : ''}${tint ? ' is-tinted' : ''}`}
      data-testid="card"
      data-id={id}
      style={tint ? ({ '--tint': tint } as React.CSSProperties) : undefined}
      onDoubleClick={() => editing.begin(id)}
    >
      <Item id={id} selected={selected && isReadable} minHeight={48} />
      {editing.id === id ? (
        <Draft
          label={
            column === 'text' ? 'Text of the card' : column === 'file' ? 'Path of the file' : 'Address of the link'
          }
          value={row[column] ?? ''}
          multiline={column === 'text'}
          onInput={(value) => editing.attempt(() => db.tables.card.update(id, { [column]: value }))}
          onEnd={editing.end}
        />
      ) : (
        <div className="card-body">{isReadable ? <Content row={row} /> : <strong>{titleOf(row)}</strong>}</div>
      )}
      {isReadable && (row.votes !== 0 || selected) && (
        <button
          type="button"
          className="votes nodrag"
          aria-label={`Vote for this card, ${row.votes} so far`}
          onClick={() => editing.attempt(() => db.tables.card.update(id, { votes: increment() }))}
        >
          <ThumbsUp size={13} aria-hidden /> {row.votes}
        </button>
      )}
    </div>
  );
});

function Content({ row }: { row: CardRow }) {
  if (row.kind === 'file') {
    return (
      <div className="reference">
        <FileText size={18} aria-hidden />
        <span>
          {row.file || 'No file'}
          {row.subpath && <small>{row.subpath}</small>}
        </span>
      </div>
    );
  }
  if (row.kind === 'link') {
    return (
      <div className="reference">
        <ExternalLink size={18} aria-hidden />
        {isWebAddress(row.url) ? (
          <a className="nodrag" href={row.url} target="_blank" rel="noopener noreferrer">
            {row.url}
          </a>
        ) : (
          <span>{row.url || 'No address'}</span>
        )}
      </div>
    );
  }
  return row.text ? <Markdown options={MARKDOWN}>{row.text}</Markdown> : <p className="hint">Double-click to write</p>;
}

/** A link in someone's text opens elsewhere, and only if it is one to the web. */
function PassiveLink({ href, children }: { href?: string; children?: React.ReactNode }) {
  if (!isWebAddress(href ?? null)) return <span className="dead-link">{children}</span>;
  return (
    <a className="nodrag" href={href} target="_blank" rel="noopener noreferrer">
      {children}
    </a>
  );
}

function isWebAddress(url: string | null): url is string {
  return /^https?:\/\//i.test(url ?? '');
}
