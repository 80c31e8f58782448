/** What this person may do here. The server tells; what it told last is kept, so that it is known offline too. */

import { createContext, useContext, useSyncExternalStore } from 'react';
import { keep, kept } from '../states/kept.js';
import { accessKey, headersFor, readToken, tokenOf } from './pass.js';

export interface Access {
  /**
   * `lapsed`: the pass holds no more, and what is made waits for a new one of the same person. `none`: there is no pass, or it is for
   * other spaces, so that what is made here could never be sent.
   */
  readonly role: 'read' | 'write' | 'lapsed' | 'none';
  /** Whether the server asks for tokens at all. */
  readonly isGuarded: boolean;
}

/** `undefined`: the server has never said. */
export type Told = Access | undefined;

export const canEdit = (told: Told) => told?.role !== 'read' && told?.role !== 'none';
export const isLetIn = (told: Told) => told?.role !== 'lapsed' && told?.role !== 'none';

export class AccessStore {
  readonly #space: string;
  readonly #listeners = new Set<() => void>();
  #told: Told;

  constructor(space: string) {
    this.#space = space;
    this.#told = kept<Told>(accessKey(space)) ?? claimed(space);
  }

  get told(): Told {
    return this.#told;
  }

  readonly read = () => this.#told;

  readonly subscribe = (listener: () => void) => {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  };

  /** Asks the server. Without an answer, what is known stays. */
  async ask(): Promise<void> {
    const headers = headersFor(this.#space);
    const answer = await fetch(`/v1/spaces/${this.#space}/access`, { headers }).catch(() => undefined);
    if (answer?.status === 401 || answer?.status === 403) {
      const isLapsed = answer.status === 401 && 'authorization' in headers;
      return this.#set({ role: isLapsed ? 'lapsed' : 'none', isGuarded: true });
    }
    // An answer may break off on its way.
    const told = answer?.ok ? await answer.json().catch(() => undefined) : undefined;
    if (!told) return;
    const { role, expires_s } = told;
    this.#set({ role: role === 'read' ? 'read' : 'write', isGuarded: expires_s !== null });
  }

  #set(told: Access): void {
    if (JSON.stringify(told) === JSON.stringify(this.#told)) return;
    this.#told = told;
    keep(accessKey(this.#space), told);
    for (const listener of this.#listeners) listener();
  }
}

/** Before the server has ever said: a token that says of itself that it is for reading opens no more than that. */
function claimed(space: string): Told {
  const token = tokenOf(space);
  return token !== null && readToken(token)?.role === 'read' ? { role: 'read', isGuarded: true } : undefined;
}

const AccessContext = createContext<AccessStore | null>(null);
export const AccessProvider = AccessContext.Provider;

export function useAccessStore(): AccessStore {
  const store = useContext(AccessContext);
  if (!store) throw new Error('useAccess is used outside of AccessProvider');
  return store;
}

export function useAccess(): Told {
  const { subscribe, read } = useAccessStore();
  return useSyncExternalStore(subscribe, read);
}

/** Whether the person may change the canvas: yes, until the server has said otherwise. */
export function useCanEdit(): boolean {
  return canEdit(useAccess());
}
