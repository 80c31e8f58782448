/** "Work offline", for all tabs of the space in this browser: one of them sends for all, so a single one that is off keeps nothing back. */

import { useCallback, useEffect, useRef, useState } from 'react';

const HELLO = 'hello';

/** Whether it is on, and what turns it on and off. `apply` is told whenever it changes, by whichever tab. */
export function useOffline(space: string, apply: (isOffline: boolean) => void): [boolean, () => void] {
  const [isOffline, setIsOffline] = useState(false);
  const latest = useRef(false);
  const channel = useRef<BroadcastChannel>(undefined);
  const take = useCallback(
    (next: boolean) => {
      if (next === latest.current) return;
      latest.current = next;
      setIsOffline(next);
      apply(next);
    },
    [apply],
  );
  useEffect(() => {
    const opened = new BroadcastChannel(`driftline-offline:${space}`);
    channel.current = opened;
    opened.onmessage = ({ data }) => {
      if (data !== HELLO) take(data === true);
      else if (latest.current) opened.postMessage(true);
    };
    opened.postMessage(HELLO);
    return () => opened.close();
  }, [space, take]);
  const toggle = useCallback(() => {
    take(!latest.current);
    channel.current?.postMessage(latest.current);
  }, [take]);
  return [isOffline, toggle];
}
