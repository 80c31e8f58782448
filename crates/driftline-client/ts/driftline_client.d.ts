/**
 * What wasm-bindgen writes to `dist/driftline_client.js`, as far as it is used here. This file has the module's name so that
 * the sources compile before the first wasm build; the types that users see name nothing of it.
 */

import type { Engine, WasmSource } from './engine.js';

export interface SessionConfig {
  readonly schema: string;
  readonly space: string;
  readonly url: string;
  readonly app: string;
  readonly user: string;
  /** Percent-encoded; what the server holds against the credential. Empty where the app does not say. */
  readonly identity: string;
  readonly trace?: boolean | undefined;
  readonly token?: () => Promise<string | null> | string | null;
}

export const Session: {
  open(config: SessionConfig, onPatch: (json: string) => void, onEvent: (json: string) => void): Promise<Engine>;
};

export default function init(options: { module_or_path: WasmSource | Promise<WasmSource> }): Promise<unknown>;
