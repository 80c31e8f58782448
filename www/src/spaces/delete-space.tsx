/** Deletes a space from this device, and never lets unsent work go without asking. */

import { DriftlineError } from 'driftline';
import { useState } from 'react';
import { sayError } from '../panel/codes.js';
import { Ask } from '../panel/dialog.js';
import { countOf } from '../panel/words.js';
import { type Held, removeSpace } from './use-spaces.js';

export interface DeleteSpaceProps {
  readonly space: Held;
  readonly testId: string;
  readonly notify: (text: string) => void;
  readonly deleted: () => void;
}

export function DeleteSpace({ space, testId, notify, deleted }: DeleteSpaceProps) {
  const [isAsking, setIsAsking] = useState(false);
  const remove = async (discard: boolean) => {
    try {
      await removeSpace(space, discard);
      deleted();
    } catch (error) {
      // Work may have come into it since the list was read: whoever deletes is asked then, too.
      if (error instanceof DriftlineError && error.code === 'unsynced') setIsAsking(true);
      else notify(sayError(error));
    }
  };
  return (
    <>
      <button
        type="button"
        className="text-button"
        data-testid={testId}
        aria-label={`Delete ${space.name} from this device`}
        title="From this device: what the server has stays there"
        onClick={() => remove(false)}
      >
        Delete
      </button>
      {isAsking && (
        <Ask
          title={`Give up unsent work in “${space.name}”?`}
          action="Delete it all the same"
          act={() => remove(true)}
          close={() => setIsAsking(false)}
        >
          <p>
            {space.unsynced > 0 ? countOf(space.unsynced, 'change') : 'Some work'} in this space has not reached the
            server and is on this device alone. If you delete the space, it is lost. Open the space to send or export it
            first.
          </p>
        </Ask>
      )}
    </>
  );
}
