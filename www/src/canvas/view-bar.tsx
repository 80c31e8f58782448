/** Zoom, map, snapping, search and help: what concerns the view and not the canvas. */

import { CircleHelp, Grid3x3, Magnet, Map as MapIcon, Maximize, Minus, Plus, Search } from 'lucide-react';
import { type RefObject, useEffect, useState } from 'react';
import { commandOf } from './commands.js';
import type { Controls } from './controls.js';
import { keyCaps } from './keys.js';
import type { Snapping } from './snapping.js';

export interface ViewBarProps {
  readonly controls: RefObject<Controls>;
  readonly snapping: Snapping;
  readonly hasMap: boolean;
}

export function ViewBar({ controls, snapping, hasMap }: ViewBarProps) {
  const [zoom, setZoom] = useState(1);
  useEffect(() => controls.current.camera.watch((_view, zoom) => setZoom(Math.round(zoom * 100))), [controls]);
  const button = (id: string, Icon: typeof Plus, isPressed?: boolean) => {
    const { name, keys, run } = commandOf(id);
    return (
      <button
        type="button"
        className="icon-button"
        aria-label={name}
        title={`${name} (${keyCaps(keys[0] ?? '').join('+')})`}
        data-testid={`view-${id}`}
        {...(isPressed !== undefined && { 'aria-pressed': isPressed })}
        onClick={() => run(controls.current)}
      >
        <Icon size={18} aria-hidden />
      </button>
    );
  };
  return (
    <div className="bar view-bar" role="toolbar" aria-label="View">
      {button('zoom-out', Minus)}
      <button
        type="button"
        className="zoom"
        title="Zoom to 100% (Shift+0)"
        aria-label={`Zoom is ${zoom}%, zoom to 100%`}
        onClick={() => controls.current.camera.zoomTo(1)}
      >
        {zoom}%
      </button>
      {button('zoom-in', Plus)}
      {button('zoom-fit', Maximize)}
      <span className="divider" />
      {button('snap-items', Magnet, snapping.toItems)}
      {button('snap-grid', Grid3x3, snapping.toGrid)}
      {button('map', MapIcon, hasMap)}
      <span className="divider" />
      {button('search', Search)}
      {button('help', CircleHelp)}
    </div>
  );
}
