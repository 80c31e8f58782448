/** What fails while it is drawn must not leave an empty page: it says so, with a way on. */

import { Component, type ErrorInfo, type ReactNode } from 'react';
import { Failure } from './failure.js';
import { takeLookAway } from './look.js';

interface State {
  readonly failed?: { readonly error: unknown };
}

export class Boundary extends Component<{ readonly children: ReactNode }, State> {
  override state: State = {};

  static getDerivedStateFromError(error: unknown): State {
    return { failed: { error } };
  }

  override componentDidCatch(error: unknown, { componentStack }: ErrorInfo): void {
    takeLookAway();
    console.error(error, componentStack);
  }

  override render(): ReactNode {
    return this.state.failed ? <Failure code="drawing_failed" error={this.state.failed.error} /> : this.props.children;
  }
}
