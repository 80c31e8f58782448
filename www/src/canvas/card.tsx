import { type NodeProps, useStore } from '@xyflow/react';
import { ExternalLink, FileText, ThumbsUp } from 'lucide-react';
import Markdown from 'markdown-to-jsx';
import { memo } from 'react';
import { tickTask, titleOf, vote } from '../edits.js';
import { Picture } from '../images/picture.js';
import type { Card as CardRow } from '../schema.js';
import { useDatabase } from '../space.js';
import { LEGIBLE_ZOOM } from './camera.js';
import { Draft, textOf } from './draft.js';
import { useEditing } from './editing.js';
import { Item } from './item.js';
import { type CardNode, type Face, isSameFace } from './model.js';
import { ListItem, TickBox } from './tick-box.js';

const MARKDOWN = {
  disableParsingRawHTML: true,
  forceBlock: true,
  // A heading's words are the person's: as they are they might name a part of the page.
  slugify: (text: string, slug: (text: string) => string) => `in-card-${slug(text)}`,
  overrides: { a: PassiveLink, li: ListItem, input: TickBox, img: { component: () => null } },
};

export const Card = memo(function Card({ id, data: { row }, selected }: NodeProps<CardNode>) {
  const db = useDatabase();
  const editing = useEditing();
  const isReadable = useStore((state) => state.transform[2] >= LEGIBLE_ZOOM);
  const hasPicture = row.image !== null;
  const column = hasPicture ? 'text' : row.kind === 'file' ? 'file' : row.kind === 'link' ? 'url' : 'text';
  const draft = editing.id === id && (
    <Draft
      id={id}
      label={hasPicture ? 'What the picture shows' : LABELS[column]}
      value={row[column] ?? ''}
      multiline={column === 'text'}
      read={() => textOf(db.tables.card.get(id)?.[column])}
      write={(value) => db.tables.card.update(id, { [column]: value })}
    />
  );
  const className = hasPicture ? 'card-picture' : `card-${column}`;
  const look = { className, color: row.color, keepsRatio: hasPicture };
  return (
    <Item id={id} kind="card" {...look} isSelected={selected}>
      {hasPicture ? (
        <Picture row={row} draft={draft} isReadable={isReadable} />
      ) : (
        draft || <Body row={row} isReadable={isReadable} tick={(nth) => editing.attempt(() => tickTask(db, id, nth))} />
      )}
      {isReadable && (row.votes !== 0 || selected) && (
        <button
          type="button"
          className="votes nodrag"
          tabIndex={-1}
          aria-label={`Vote for this card, ${row.votes} so far`}
          onClick={() => editing.attempt(() => vote(db, id))}
        >
          <ThumbsUp size={13} aria-hidden /> {row.votes}
        </button>
      )}
    </Item>
  );
}, isSameFace);

const LABELS = { text: 'Text of the card', file: 'Path of the file', url: 'Address of the link' } as const;

interface BodyProps {
  readonly row: Face<CardRow>;
  readonly isReadable: boolean;
  /** Ticks the nth task of the text. */
  readonly tick: (nth: number) => void;
}

function Body({ row, isReadable, tick }: BodyProps) {
  const onClick = ({ target, currentTarget }: React.MouseEvent) => {
    const boxes = [...currentTarget.querySelectorAll('input[type=checkbox]')];
    const nth = boxes.indexOf(target as Element);
    if (nth >= 0) tick(nth);
  };
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: clicks come from the tick boxes in it.
    // biome-ignore lint/a11y/useKeyWithClickEvents: a key on a tick box is a click, too.
    <div className="card-body" onClick={onClick}>
      {isReadable ? <Content row={row} /> : <strong>{titleOf(row)}</strong>}
    </div>
  );
}

const Content = memo(function Content({ row }: { row: Face<CardRow> }) {
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
          <a className="nodrag" tabIndex={-1} href={row.url} target="_blank" rel="noopener noreferrer">
            {row.url}
          </a>
        ) : (
          <span>{row.url || 'No address'}</span>
        )}
      </div>
    );
  }
  return row.text ? <Markdown options={MARKDOWN}>{row.text}</Markdown> : <p className="hint">Double-click to write</p>;
});

/** A link in someone's text opens elsewhere, and only if it is one to the web. */
function PassiveLink({ href, children }: { href?: string; children?: React.ReactNode }) {
  if (!isWebAddress(href ?? null)) return <span className="dead-link">{children}</span>;
  return (
    <a className="nodrag" tabIndex={-1} href={href} target="_blank" rel="noopener noreferrer">
      {children}
    </a>
  );
}

function isWebAddress(url: string | null): url is string {
  return /^https?:\/\//i.test(url ?? '');
}
