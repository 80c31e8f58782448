/** Which item's text is being edited, and how an item reports what went wrong. */

import { createContext, useContext } from 'react';

export interface Editing {
  readonly id: string | null;
  readonly begin: (id: string) => void;
  readonly end: () => void;
  /** Runs an edit; a refusal is shown to the person and changes nothing. */
  readonly attempt: (edit: () => void) => void;
}

const EditingContext = createContext<Editing | null>(null);
export const EditingProvider = EditingContext.Provider;

export function useEditing(): Editing {
  const editing = useContext(EditingContext);
  if (!editing) throw new Error('useEditing is used outside of EditingProvider');
  return editing;
}
