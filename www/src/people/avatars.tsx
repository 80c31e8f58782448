/** Who is here, in the top bar. */

import { colorOf, initialsOf, type Me, nameOf } from './me.js';
import { useOthers, usePeople } from './people.js';

const SHOWN_MAX = 4;

export function Avatars({ showPeople }: { showPeople: () => void }) {
  const { me } = usePeople();
  const others = useOthers();
  const more = others.length - SHOWN_MAX;
  const names = others.map(nameOf).join(', ');
  return (
    <button
      type="button"
      className="avatars"
      data-testid="avatars"
      aria-label={others.length > 0 ? `People here: you, ${names}` : 'You are alone here'}
      title={others.length > 0 ? `Here with you: ${names}` : 'Your name and colour'}
      onClick={showPeople}
    >
      {more > 0 && <span className="avatar is-more" data-initials={`+${more}`} />}
      {others.slice(0, SHOWN_MAX).map((person) => (
        <Avatar key={person.id} me={person} />
      ))}
      <Avatar me={me} isMe />
    </button>
  );
}

export function Avatar({ me, isMe = false }: { me: Me; isMe?: boolean }) {
  return (
    <span
      className={`avatar${isMe ? ' is-me' : ''}`}
      data-testid={isMe ? 'my-avatar' : 'avatar'}
      data-initials={initialsOf(me)}
      style={{ background: colorOf(me.color) }}
    />
  );
}
