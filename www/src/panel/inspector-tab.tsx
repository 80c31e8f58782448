import { useEffect, useRef, useState } from 'react';
import { useDatabase } from '../space.js';
import { inspectionOf } from './inspection.js';

export function InspectorTab() {
  const db = useDatabase();
  const element = useRef<HTMLDivElement>(null);
  const [isMissing, setIsMissing] = useState(false);
  useEffect(() => {
    let isWanted = true;
    let unmount = () => {};
    inspectionOf(db).then(
      ({ mount }) => {
        if (isWanted && element.current) unmount = mount(element.current);
      },
      () => setIsMissing(true),
    );
    return () => {
      isWanted = false;
      unmount();
    };
  }, [db]);
  return isMissing ? <Missing /> : <div ref={element} className="inspector-tab" />;
}

/** The files of this page's version go when another tab takes over a new one. */
function Missing() {
  return (
    <section data-testid="inspector-missing">
      <p className="sentence" role="alert">
        The inspector cannot be loaded: there is no network, or a newer version of the app has taken this page’s place.
        Load the page again to get it; what waits stays on this device.
      </p>
      <button type="button" className="button" onClick={() => location.reload()}>
        Load again
      </button>
    </section>
  );
}
