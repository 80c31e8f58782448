export interface RowRef {
  readonly table: string;
  readonly id: string;
}

/** A problem as the engine and the server tell it: the members of RFC 9457 that an app can act on. */
export interface Problem {
  readonly code: string;
  readonly title?: string;
  readonly detail: string;
  readonly rows?: readonly RowRef[];
}

/** The engine throws errors with a code, because its errors cannot be classes of this side. */
export function asError(thrown: unknown): unknown {
  if (!(thrown instanceof Error) || !('code' in thrown) || typeof thrown.code !== 'string') return thrown;
  return new DriftlineError({ code: thrown.code, detail: thrown.message });
}

/** The one error of this package. Branch on `code`, which is stable; show `detail`, which says what to do. */
export class DriftlineError extends Error {
  override readonly name = 'DriftlineError';
  readonly code: string;
  readonly detail: string;
  /** The rows concerned: the missing parent, the rows that forbid a delete, the members of a cycle. */
  readonly rows: readonly RowRef[];

  constructor(problem: Problem) {
    super(problem.detail || problem.title || problem.code);
    this.code = problem.code;
    this.detail = problem.detail || problem.title || '';
    this.rows = problem.rows ?? [];
  }
}
