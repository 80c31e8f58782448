/** What the engine in wasm does for an open space. Everything crosses as one JSON text per transaction or per frame. */
export interface Engine {
  /** Takes `{edits, after, apart, gesture}`; returns `{key, patch}`, or `{problem}` and then nothing has changed. */
  edit(json: string): string;
  /** The waiting transactions as a JSON list. */
  outbox(): string;
  status(): unknown;
  /** What `Digest` says, as an object. */
  digest(): unknown;
  /** Takes `{what, key, …}`; returns `{}`, or `{problem}` and then nothing has changed. */
  decide(json: string): string;
  /** Returns a list of `{key, patch}`, or `{problem}`. */
  undo(redo: boolean): string;
  /** The records that cannot be read, as a JSON list of `{key, record}`. */
  damaged(): string;
  /** Returns a file's text, or `{problem}`. */
  export_waiting(key: string, dependents: boolean): string;
  /** Returns `{records, left_out}`. */
  export_unsynced(): string;
  /** Takes a list of records; returns `{puts, message, known, unreadable}`, or `{problem}`. */
  admit(records: string): string;
  /** Takes the message of `admit`, once its records are on disk. */
  imported(message: string): void;
  /** What it has been told, if that is kept. */
  trace(): string | undefined;
  set_online(on: boolean): void;
  /** Writes what was made without delay. */
  save_now(): void;
  /** Resolves to whether all that was made is on disk. */
  close(): Promise<boolean>;
  free(): void;
}

/** What `WebAssembly` can be loaded from. */
export type WasmSource = string | URL | Request | Response | BufferSource | WebAssembly.Module;
