/** Recordings of what the engine is given, where the package makes them. */

import type { AnyDb, Trace } from './db.js';
import { saveFile } from './save.js';

export interface Recording {
  readonly isOn: boolean;
  readonly startedAt: number;
  /** What was recorded, once it is stopped. */
  readonly text: string | null;
}

export class Recorder {
  readonly #db: AnyDb;
  #trace: Trace | null = null;
  #recording: Recording | null = null;

  constructor(db: AnyDb) {
    this.#db = db;
  }

  get recording(): Recording | null {
    return this.#recording;
  }

  record(): void {
    this.#trace = this.#db.recordTrace?.() ?? null;
    this.#recording = this.#trace && { isOn: true, startedAt: Date.now(), text: null };
  }

  stop(): void {
    if (!this.#trace || !this.#recording) return;
    this.#trace.stop();
    this.#recording = { ...this.#recording, isOn: false, text: this.#trace.text() };
    this.#trace = null;
  }

  download(): void {
    const { text } = this.#recording ?? {};
    if (text) saveFile(`${this.#db.home.space}-trace.jsonl`, text);
  }

  /** Resolves to what is to be said about it. */
  async copy(): Promise<string> {
    try {
      await navigator.clipboard.writeText(this.#recording?.text ?? '');
      return 'The trace is in the clipboard.';
    } catch {
      return 'The browser does not let this page write to the clipboard: download the file.';
    }
  }
}
