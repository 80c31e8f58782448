/** All spaces on this device: made, opened, deleted, and tidied up, also without a network. */

import { Plus } from 'lucide-react';
import { useState } from 'react';
import { sayError } from '../panel/codes.js';
import { Dialog } from '../panel/dialog.js';
import { agoWords, sizeWords } from '../panel/measures.js';
import { countOf } from '../panel/words.js';
import { addressOf, isSpaceName } from '../space.js';
import { DeleteSpace } from './delete-space.js';
import { canOpen, evictAllBut, type Held, useSpaces } from './use-spaces.js';

/** What tidying up leaves: the spaces that people go back to. */
const KEPT_SPACES = 5;

export interface SpacesDialogProps {
  readonly space: string;
  readonly notify: (text: string) => void;
  readonly close: () => void;
}

export function SpacesDialog({ space, notify, close }: SpacesDialogProps) {
  const [{ list: spaces, state }, read] = useSpaces();
  const bytes = spaces.reduce((sum, held) => sum + held.bytes, 0);
  const tidy = async () => {
    try {
      const gone = await evictAllBut(KEPT_SPACES);
      notify(gone > 0 ? `${countOf(gone, 'space')} deleted from this device.` : 'Nothing to tidy up.');
      read();
    } catch (error) {
      notify(sayError(error));
    }
  };
  return (
    <Dialog title="Spaces" testId="spaces-dialog" close={close}>
      <GoToSpace known={spaces.map(({ name }) => name)} />
      <ul className="rows" aria-label="Spaces on this device">
        {spaces.map((held) => (
          <SpaceRow
            key={`${held.user ?? ''} ${held.name}`}
            held={held}
            isHere={held.name === space && held.isOpen}
            notify={notify}
            read={read}
          />
        ))}
      </ul>
      <footer className="dialog-foot">
        <p className="hint">
          {state === 'reading' && 'Reading what this device holds…'}
          {state === 'unreadable' && 'What this device holds cannot be read just now.'}
          {state === 'read' &&
            `${countOf(spaces.length, 'space')}, ${sizeWords(bytes)} on this device. What the server has comes back when a space is opened again.`}
        </p>
        <button
          type="button"
          className="button"
          data-testid="tidy"
          disabled={spaces.length <= KEPT_SPACES}
          title="Spaces with unsent work, and those that are open, stay"
          onClick={tidy}
        >
          Keep only the last {KEPT_SPACES}
        </button>
      </footer>
    </Dialog>
  );
}

interface SpaceRowProps {
  readonly held: Held;
  readonly isHere: boolean;
  readonly notify: (text: string) => void;
  readonly read: () => void;
}

function SpaceRow({ held, isHere, notify, read }: SpaceRowProps) {
  const facts = [
    held.openedAt > 0 && `opened ${agoWords(held.openedAt)}`,
    sizeWords(held.bytes),
    held.rev === null && 'made offline',
    held.user !== undefined && `as ${held.user}`,
  ];
  return (
    <li className={`row${isHere ? ' is-here' : ''}`} data-testid="space-row" data-space={held.name}>
      <div>
        {canOpen(held) && !isHere ? <a href={addressOf(held.name)}>{held.name}</a> : <strong>{held.name}</strong>}
        <small>{facts.filter(Boolean).join(' · ')}</small>
      </div>
      {held.unsynced > 0 && <span className="chip chip-waiting">{held.unsynced} not sent</span>}
      {isHere && <span className="chip chip-in_flight">open here</span>}
      {!isHere && held.isOpen && <span className="chip">open in a tab</span>}
      {!held.isOpen && <DeleteSpace space={held} testId="delete-row" notify={notify} deleted={read} />}
    </li>
  );
}

/** A space is there as soon as it is named: its name is its id. */
function GoToSpace({ known }: { known: readonly string[] }) {
  const [name, setName] = useState('');
  const isValid = isSpaceName(name.trim());
  return (
    <form
      className="go"
      onSubmit={(event) => {
        event.preventDefault();
        if (isValid) location.assign(addressOf(name.trim()));
      }}
    >
      <label htmlFor="new-space">Make a space, or open one by its name</label>
      <div className="field-row">
        <input
          id="new-space"
          className="field"
          data-testid="new-space"
          placeholder="trip-to-porto"
          maxLength={64}
          autoComplete="off"
          autoCapitalize="off"
          spellCheck={false}
          aria-describedby="new-space-hint"
          value={name}
          onChange={(event) => setName(event.target.value)}
        />
        <button type="submit" className="button is-primary" data-testid="go-space" disabled={!isValid}>
          <Plus size={16} aria-hidden />
          {known.includes(name.trim()) ? 'Open' : 'Make'}
        </button>
      </div>
      <small id="new-space-hint" className={name !== '' && !isValid ? 'problem' : 'hint'}>
        Up to 64 letters and digits, and <code>_ . -</code>
      </small>
    </form>
  );
}
