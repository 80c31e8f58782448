/**
 * "Work offline", for all tabs of the space in this browser: one of them sends for all, so a single one that is off keeps nothing back.
 * It outlives the page, and holds until somebody switches it off.
 */

import { useCallback, useEffect, useRef, useState } from 'react';
import type { Files } from '../images/files.js';
import { keep, kept } from '../states/kept.js';

const HELLO = 'hello';
const keyOf = (space: string) => `offline.${space}`;
const isKept = (space: string) => kept<boolean>(keyOf(space)) === true;

/** As this page, which has one space, was told last. */
let isOn = false;

/**
 * To be called as soon as the space is open: by then nothing has been sent. Resolves once the status says that it is offline, which those
 * who ask the server go by.
 */
export async function beginOffline(files: Files): Promise<void> {
  isOn = isKept(files.space);
  if (!isOn) return;
  files.setOnline(false);
  await new Promise<void>((resolve) => {
    const look = () => {
      const { state } = files.status;
      if (state === 'saved' || state === 'saving') return;
      stop();
      resolve();
    };
    const stop = files.subscribe(look);
    look();
  });
}

/** Goes with the space. */
export function forgetOffline(space: string): void {
  keep(keyOf(space), undefined);
}

/** Whether it is on, by whichever tab, and what turns it on and off. */
export function useOffline(space: string, files: Files): [boolean, () => void] {
  const [isOffline, setIsOffline] = useState(isOn);
  const channel = useRef<BroadcastChannel>(undefined);
  const take = useCallback(
    (next: boolean) => {
      if (next === isOn) return;
      isOn = next;
      keep(keyOf(space), next || undefined);
      setIsOffline(next);
      files.setOnline(!next);
    },
    [space, files],
  );
  useEffect(() => {
    const opened = new BroadcastChannel(`driftline-offline:${space}`);
    channel.current = opened;
    opened.onmessage = ({ data }) => {
      if (data !== HELLO) take(data === true);
      else if (isOn) opened.postMessage(true);
    };
    // Another tab may have switched it before this one listened.
    take(isKept(space));
    opened.postMessage(HELLO);
    return () => opened.close();
  }, [space, take]);
  const toggle = useCallback(() => {
    take(!isOn);
    channel.current?.postMessage(isOn);
  }, [take]);
  return [isOffline, toggle];
}
