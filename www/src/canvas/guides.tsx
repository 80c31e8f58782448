/** The lines on which something that is being dragged has come to rest. */

import { ViewportPortal } from '@xyflow/react';
import { useSyncExternalStore } from 'react';
import type { Scene } from './scene.js';
import type { Guide } from './snap.js';

export function Guides({ scene, zoom }: { scene: Scene; zoom: () => number }) {
  const guides = useSyncExternalStore(scene.subscribe, () => scene.guides);
  if (guides.length === 0) return null;
  return (
    <ViewportPortal>
      {guides.map((guide) => (
        <div
          key={`${guide.axis} ${guide.at}`}
          className={`guide guide-${guide.axis}`}
          data-testid="guide"
          style={{ '--zoom': zoom(), ...placeOf(guide) } as React.CSSProperties}
        />
      ))}
    </ViewportPortal>
  );
}

function placeOf({ axis, at, from, to }: Guide): React.CSSProperties {
  return axis === 'x' ? { left: at, top: from, height: to - from } : { top: at, left: from, width: to - from };
}
