/** The pictures that are on screen, each loaded once, and asked for again as long as it is looked at; of the others the last ones. */

/** `code`: why it is not here. */
export type Picture = { readonly url: string } | { readonly code: string };

/** What has failed is asked for again after this, or at once when there is a network again. */
const AGAIN_MS = 10_000;
/** So many that nobody looks at any more stay: the browser holds their bytes in memory. */
const UNSEEN_MAX = 50;

interface Entry {
  picture: Picture | undefined;
  isLoading: boolean;
  readonly listeners: Set<() => void>;
}

export class Pictures {
  readonly #load: (hash: string) => Promise<string>;
  readonly #unload: (hash: string) => void;
  readonly #entries = new Map<string, Entry>();
  /** Whose last looker has gone, the longest ago first. */
  readonly #unseen = new Set<string>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `load` resolves to the address of the picture, or rejects with a code; `unload` lets it go. */
  constructor(load: (hash: string) => Promise<string>, unload: (hash: string) => void) {
    this.#load = load;
    this.#unload = unload;
  }

  /** `undefined` while it is loaded for the first time. */
  read(hash: string): Picture | undefined {
    return this.#entries.get(hash)?.picture;
  }

  subscribe(hash: string, listener: () => void): () => void {
    const entry = this.#entries.get(hash) ?? { picture: undefined, isLoading: false, listeners: new Set() };
    this.#entries.set(hash, entry);
    entry.listeners.add(listener);
    this.#unseen.delete(hash);
    this.#ask(hash, entry);
    return () => {
      entry.listeners.delete(listener);
      if (entry.listeners.size === 0) this.#leave(hash);
    };
  }

  #leave(hash: string): void {
    this.#unseen.delete(hash);
    this.#unseen.add(hash);
    const [oldest] = this.#unseen;
    if (oldest === undefined || this.#unseen.size <= UNSEEN_MAX) return;
    this.#unseen.delete(oldest);
    this.#entries.delete(oldest);
    this.#unload(oldest);
  }

  /** There is reason to believe that what has failed can be had now. */
  again(): void {
    for (const [hash, entry] of this.#entries) if (entry.listeners.size > 0) this.#ask(hash, entry);
  }

  async #ask(hash: string, entry: Entry): Promise<void> {
    if (entry.isLoading || (entry.picture && 'url' in entry.picture)) return;
    entry.isLoading = true;
    entry.picture = await this.#load(hash).then(
      (url) => ({ url }),
      ({ code }) => ({ code: String(code) }),
    );
    entry.isLoading = false;
    for (const listener of entry.listeners) listener();
    if ('code' in entry.picture) this.#later();
  }

  #later(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.again();
    }, AGAIN_MS);
  }
}
