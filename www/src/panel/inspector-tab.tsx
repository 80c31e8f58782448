import { useEffect, useRef } from 'react';
import { useDatabase } from '../space.js';

/** Loaded when it is looked at: nobody else needs it. */
export function InspectorTab() {
  const db = useDatabase();
  const element = useRef<HTMLDivElement>(null);
  useEffect(() => {
    let isWanted = true;
    let unmount = () => {};
    import('driftline/devtools').then(({ mountInspector }) => {
      if (isWanted && element.current) unmount = mountInspector(element.current, db);
    });
    return () => {
      isWanted = false;
      unmount();
    };
  }, [db]);
  return <div ref={element} className="inspector-tab" />;
}
