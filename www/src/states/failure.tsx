/** The page where there is no canvas, because it could not be opened: why, and what helps. */

import { DriftlineError } from 'driftline';
import { sayError } from '../panel/codes.js';

interface Help {
  readonly title: string;
  readonly steps: readonly string[];
}

const HELP: Record<string, Help> = {
  engine_not_loaded: {
    title: 'The canvas could not start',
    steps: [
      'Check that there is a network: the very first visit needs one. After that the canvas starts without.',
      'Then try again. If it keeps failing, a blocker or a policy of this network may keep WebAssembly from running.',
    ],
  },
  locks_missing: {
    title: 'This address is not secure enough',
    steps: ['Open the page by https, or as http://localhost on the machine that serves it.'],
  },
  drawing_failed: {
    title: 'The page has failed',
    steps: ['Load it again: what was saved is all there, and goes on where it stopped.'],
  },
  too_many_tabs: { title: 'Too many tabs have this open', steps: ['Close some of them, then try again.'] },
};

const UNKNOWN: Help = {
  title: 'The canvas could not be opened',
  steps: ['Try again. If that does not help, close the other tabs of this app, and then try once more.'],
};

export interface FailureProps {
  readonly error: unknown;
  /** Where the error has none of its own. */
  readonly code?: string;
}

export function Failure({ error, code = error instanceof DriftlineError ? error.code : undefined }: FailureProps) {
  const { title, steps } = HELP[code ?? ''] ?? UNKNOWN;
  return (
    <main className="failure" data-testid="failure" data-code={code}>
      <img src="/icon.svg" alt="" width={44} height={44} />
      <h1>{title}</h1>
      <p role="alert">{sayError(code ? { code } : error)} Nothing that was saved on this device is lost.</p>
      <ul>
        {steps.map((step) => (
          <li key={step}>{step}</li>
        ))}
      </ul>
      <button type="button" className="button is-primary" onClick={() => location.reload()}>
        Try again
      </button>
      <details>
        <summary>What the browser said</summary>
        <code>{error instanceof Error ? error.message : String(error)}</code>
      </details>
    </main>
  );
}
