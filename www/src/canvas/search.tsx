import { ChevronDown, ChevronUp, X } from 'lucide-react';
import { type RefObject, useEffect, useRef, useState } from 'react';
import * as edits from '../edits.js';
import type { Controls } from './controls.js';
import { find } from './find.js';
import { boundsOf } from './geometry.js';
import { useFocusBack } from './use-focus.js';

export function Search({ controls, close }: { controls: RefObject<Controls>; close: () => void }) {
  const [query, setQuery] = useState('');
  const [found, setFound] = useState<readonly string[]>([]);
  const [place, setPlace] = useState(0);
  const field = useRef<HTMLInputElement>(null);
  const part = useRef<HTMLElement>(null);
  useFocusBack(part);
  useEffect(() => field.current?.focus(), []);

  const show = (id: string | undefined) => {
    const { db, scene, camera } = controls.current;
    if (id === undefined) return;
    const ends = edits.endsOf(db, id);
    const bounds = boundsOf(edits.itemsOf(db, ends.length > 0 ? ends : [id]));
    scene.select([id]);
    if (bounds) camera.reveal(bounds, { isToRead: ends.length === 0 });
  };
  const search = (query: string) => {
    const found = find(controls.current.db, query);
    setQuery(query);
    setFound(found);
    setPlace(0);
    show(found[0]);
  };
  const go = (by: number) => {
    // What was found may have changed since.
    const now = find(controls.current.db, query);
    const next = now.length === 0 ? 0 : (place + by + now.length) % now.length;
    setFound(now);
    setPlace(next);
    show(now[next]);
  };
  const onKeyDown = (event: React.KeyboardEvent) => {
    if (event.nativeEvent.isComposing) return;
    if (event.key === 'Enter') go(event.shiftKey ? -1 : 1);
    else if (event.key === 'Escape') {
      close();
      const current = found[place];
      if (current !== undefined) controls.current.focus(current);
    } else return;
    event.preventDefault();
  };
  const words = query.trim() === '' ? '' : found.length === 0 ? 'Nothing' : `${place + 1} of ${found.length}`;
  return (
    <search ref={part} className="bar search" data-testid="search">
      <input
        ref={field}
        type="search"
        className="field"
        aria-label="Search in this canvas"
        placeholder="Search in this canvas"
        value={query}
        onChange={(event) => search(event.target.value)}
        onKeyDown={onKeyDown}
        data-testid="search-field"
      />
      <output className="count" data-testid="search-count">
        {words}
      </output>
      <button
        type="button"
        className="icon-button"
        aria-label="Previous"
        title="Previous (Shift+Enter)"
        onClick={() => go(-1)}
      >
        <ChevronUp size={18} aria-hidden />
      </button>
      <button type="button" className="icon-button" aria-label="Next" title="Next (Enter)" onClick={() => go(1)}>
        <ChevronDown size={18} aria-hidden />
      </button>
      <button type="button" className="icon-button" aria-label="Close the search" onClick={close}>
        <X size={18} aria-hidden />
      </button>
    </search>
  );
}
