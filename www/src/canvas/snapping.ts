/** Whether what is dragged is drawn to other items, and to the grid: a habit of this device, kept from one visit to the next. */

import { useState } from 'react';

export interface Snapping {
  readonly toItems: boolean;
  readonly toGrid: boolean;
}

const KEY = 'driftline-canvas:snapping';
const USUAL: Snapping = { toItems: true, toGrid: false };

function read(): Snapping {
  try {
    const { toItems, toGrid } = JSON.parse(localStorage.getItem(KEY) ?? '{}');
    return { toItems: toItems !== false, toGrid: toGrid === true };
  } catch {
    return USUAL;
  }
}

export function useSnapping(): [Snapping, (change: Partial<Snapping>) => void] {
  const [snapping, setSnapping] = useState(read);
  const change = (change: Partial<Snapping>) => {
    const next = { ...snapping, ...change };
    setSnapping(next);
    try {
      localStorage.setItem(KEY, JSON.stringify(next));
    } catch {
      // Where nothing can be kept, it holds for this visit.
    }
  };
  return [snapping, change];
}
