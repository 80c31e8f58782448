/**
 * Whether a newer version of the page has been installed beside this one. It waits until the person says so: nobody's work is
 * interrupted by a reload.
 */

import { useCallback, useEffect, useState } from 'react';

type Ready = ServiceWorker | 'taken-over';

/** Goes over to the newer version; `undefined` where there is none. */
export function useUpdate(): (() => void) | undefined {
  const [ready, setReady] = useState<Ready>();
  useEffect(() => watch(setReady), []);
  const goOver = useCallback(() => {
    if (!(ready instanceof ServiceWorker)) return location.reload();
    ready.addEventListener('statechange', () => ready.state === 'activated' && location.reload());
    ready.postMessage({ type: 'SKIP_WAITING' });
  }, [ready]);
  return ready && goOver;
}

function watch(setReady: (ready: Ready) => void): () => void {
  const workers = navigator.serviceWorker;
  if (!workers) return () => {};
  const end = new AbortController();
  const { signal } = end;
  // Another tab has gone over. Where nobody was in control so far, it is this page's own version that takes over.
  const wasControlled = workers.controller !== null;
  workers.addEventListener('controllerchange', () => wasControlled && setReady('taken-over'), { signal });
  workers.ready.then((registration) => {
    const look = () => registration.waiting && setReady(registration.waiting);
    look();
    registration.addEventListener(
      'updatefound',
      () => {
        const found = registration.installing;
        // Where the two tell of it one after the other, the worker knows first that it waits.
        const hear = () => (found?.state === 'installed' ? setReady(found) : look());
        found?.addEventListener('statechange', hear, { signal });
      },
      { signal },
    );
    // A page may stay open for weeks, and the browser asks by itself only when one is loaded.
    const ask = () => document.visibilityState === 'visible' && registration.update().catch(() => {});
    document.addEventListener('visibilitychange', ask, { signal });
  });
  return () => end.abort();
}
