/** Who is here, and how this person is shown to them. */

import { Dialog } from '../panel/dialog.js';
import { Avatar } from './avatars.js';
import { colorOf, NAME_CHARS_MAX, nameOf, PALETTE } from './me.js';
import { useOthers, usePeople } from './people.js';

export function PeopleDialog({ close }: { close: () => void }) {
  const { me, setMe } = usePeople();
  const others = useOthers();
  return (
    <Dialog title="People" testId="people-dialog" close={close}>
      <section aria-labelledby="people-me">
        <h3 id="people-me">You</h3>
        <label className="stacked">
          Name
          <input
            className="field"
            data-testid="my-name"
            maxLength={NAME_CHARS_MAX}
            placeholder="Guest"
            autoComplete="nickname"
            value={me.name}
            onChange={(event) => setMe({ ...me, name: event.target.value })}
          />
        </label>
        <fieldset className="palette">
          <legend>Colour</legend>
          {PALETTE.map((name, color) => (
            <label key={name} title={name}>
              <input
                type="radio"
                name="color"
                className="visually-hidden"
                aria-label={name}
                checked={me.color === color}
                onChange={() => setMe({ ...me, color })}
              />
              <span className="disc" style={{ background: colorOf(color) }} />
            </label>
          ))}
        </fieldset>
        <p className="hint">Kept on this device, and shown to whoever has this canvas open. Nothing of it is stored.</p>
      </section>
      <section aria-labelledby="people-others">
        <h3 id="people-others">Here now</h3>
        {others.length === 0 && (
          <p className="hint">Nobody else has this canvas open, as far as can be seen from here.</p>
        )}
        <ul className="rows">
          {others.map((person) => (
            <li key={person.id} className="row">
              <Avatar me={person} />
              <div>
                <strong>{nameOf(person)}</strong>
              </div>
            </li>
          ))}
        </ul>
      </section>
    </Dialog>
  );
}
