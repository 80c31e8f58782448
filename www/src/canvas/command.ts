import type { Controls } from './controls.js';
import { selectedItems } from './controls.js';

export interface Command {
  readonly id: string;
  readonly name: string;
  readonly group: 'Make' | 'Edit' | 'Arrange' | 'View';
  readonly keys: readonly string[];
  /** The browser, or another part of the app, does it when the keys are pressed. */
  readonly isElsewhere?: boolean;
  /** Its keys write nothing: they act wherever the focus is, also in a text. */
  readonly isAnywhere?: boolean;
  readonly isEnabled?: (controls: Controls) => boolean;
  readonly run: (controls: Controls) => void;
}

export const atLeast = (items: number) => (controls: Controls) => selectedItems(controls).length >= items;
