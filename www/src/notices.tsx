/**
 * One sentence at a time, for a while: what the engine tells, and what the app has to say. While a dialog is open, all that is outside of
 * it is out of reach, also for those who hear the page. So each dialog has a place for the notice, and the last one opened shows it.
 */

import { X } from 'lucide-react';
import { createContext, useCallback, useContext, useEffect, useId, useLayoutEffect, useMemo, useState } from 'react';

const NOTICE_MS = 8_000;

interface Notice {
  readonly text: string;
  /** The same sentence told again is another notice. */
  readonly number: number;
}

interface Noticed {
  readonly notice: Notice | null;
  readonly dismiss: () => void;
  /** Of the places, the last one opened last. */
  readonly places: readonly string[];
  /** Adds a place until the function that it returns is called. */
  readonly enter: (place: string) => () => void;
}

const NoticesContext = createContext<Noticed | null>(null);
export const NoticesProvider = NoticesContext.Provider;

export function useNotices(): { readonly noticed: Noticed; readonly notify: (text: string) => void } {
  const [notice, setNotice] = useState<Notice | null>(null);
  const [places, setPlaces] = useState<readonly string[]>([]);
  const notify = useCallback((text: string) => setNotice((last) => ({ text, number: (last?.number ?? 0) + 1 })), []);
  const enter = useCallback((place: string) => {
    setPlaces((places) => [...places, place]);
    return () => setPlaces((places) => places.filter((one) => one !== place));
  }, []);
  useEffect(() => {
    if (!notice) return;
    const timer = setTimeout(() => setNotice(null), NOTICE_MS);
    return () => clearTimeout(timer);
  }, [notice]);
  const noticed = useMemo(() => ({ notice, dismiss: () => setNotice(null), places, enter }), [notice, places, enter]);
  return { noticed, notify };
}

export function Notices() {
  const noticed = useContext(NoticesContext);
  if (!noticed) throw new Error('Notices is used outside of NoticesProvider');
  const { notice, dismiss, places, enter } = noticed;
  const id = useId();
  useLayoutEffect(() => enter(id), [enter, id]);
  const isHere = places.at(-1) === id;
  return (
    <div className="notices" role="status" data-testid={isHere ? 'notice' : undefined}>
      {isHere && notice && (
        <div key={notice.number} className="notice">
          <span>{notice.text}</span>
          <button type="button" className="icon-button" aria-label="Dismiss" onClick={dismiss}>
            <X size={16} aria-hidden />
          </button>
        </div>
      )}
    </div>
  );
}
