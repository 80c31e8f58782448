/** What this device stores, measured when asked: reading all spaces takes as long as there is to read. */

import type { SpaceInfo } from '../spaces.js';
import type { ListSpaces, Place } from './db.js';

export interface Device {
  readonly usage: number | null;
  readonly quota: number | null;
  /** What of it are databases, where the browser tells. */
  readonly databases: number | null;
  /** Whether the browser has promised not to evict it; `null` where it does not say. */
  readonly persisted: boolean | null;
  readonly spaces: readonly SpaceInfo[];
  /** The wall's time, in ms. */
  readonly at: number;
}

interface Estimate extends StorageEstimate {
  readonly usageDetails?: { readonly indexedDB?: number };
}

export async function measureDevice(place: Place, listSpaces: ListSpaces): Promise<Device> {
  const { storage } = navigator;
  // A browser that does not allow storage may refuse to tell.
  const untold = () => undefined;
  const [estimate, persisted, spaces] = await Promise.all([
    (storage?.estimate?.() as Promise<Estimate> | undefined)?.catch(untold),
    storage?.persisted?.().catch(untold),
    listSpaces(place).catch(() => []),
  ]);
  return {
    usage: estimate?.usage ?? null,
    quota: estimate?.quota ?? null,
    databases: estimate?.usageDetails?.indexedDB ?? null,
    persisted: persisted ?? null,
    spaces,
    at: Date.now(),
  };
}
