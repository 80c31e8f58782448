/** Links to this space: the address alone where the server asks for no token, and else one with a role in its fragment. */

import { useState } from 'react';
import { Ask, Dialog } from '../panel/dialog.js';
import { agoWords, momentWords } from '../panel/measures.js';
import { useStatusPart } from '../panel/use-sync.js';
import { countOf } from '../panel/words.js';
import { addressOf } from '../space.js';
import { isLetIn, useAccess } from './access.js';
import { CopyField } from './copy-field.js';
import { type Claims, keepToken, readToken, tokenIn, tokenOf } from './pass.js';

export interface ShareDialogProps {
  readonly space: string;
  readonly notify: (text: string) => void;
  readonly close: () => void;
}

export function ShareDialog({ space, notify, close }: ShareDialogProps) {
  const access = useAccess();
  return (
    <Dialog title="Share" testId="share-dialog" close={close}>
      {access === undefined && (
        <p className="callout">The server has not said yet who may come here. Links can be made once it has.</p>
      )}
      {access && !access.isGuarded && <OpenServer space={space} notify={notify} />}
      {access?.isGuarded && <GuardedServer space={space} notify={notify} />}
      <YourPass space={space} isIn={isLetIn(access)} notify={notify} />
    </Dialog>
  );
}

interface PartProps {
  readonly space: string;
  readonly notify: (text: string) => void;
}

function OpenServer({ space, notify }: PartProps) {
  return (
    <section aria-labelledby="share-address">
      <h3 id="share-address">A link to this canvas</h3>
      <CopyField label="Address" testId="share-link" value={addressOf(space)} notify={notify} />
      <p className="hint">
        This server asks nobody who they are, and so it answers on its own machine alone: the link opens there, in any
        browser, and everybody may edit. To share with others, start it with <code>--secret-file</code>.
      </p>
    </section>
  );
}

function GuardedServer({ space, notify }: PartProps) {
  const [role, setRole] = useState<'read' | 'write'>('write');
  const [text, setText] = useState('');
  const token = tokenIn(text);
  const claims = token === null ? null : readToken(token);
  const command = `driftline token --secret-file secret --sub NAME --space ${space} --role ${role} --hours 24`;
  return (
    <section aria-labelledby="share-make">
      <h3 id="share-make">A link for somebody</h3>
      <fieldset className="choice">
        <legend>They may</legend>
        {(['write', 'read'] as const).map((one) => (
          <label key={one}>
            <input type="radio" name="role" checked={role === one} onChange={() => setRole(one)} />
            {one === 'write' ? 'edit' : 'only look'}
          </label>
        ))}
      </fieldset>
      <CopyField
        label="1. Whoever runs the server makes a token, with their name"
        testId="share-command"
        value={command}
        notify={notify}
      />
      <label className="stacked">
        2. Paste it here
        <input
          className="field"
          data-testid="share-token"
          autoComplete="off"
          spellCheck={false}
          placeholder="eyJhbGciOi…"
          value={text}
          onChange={(event) => setText(event.target.value)}
        />
      </label>
      {text !== '' && <Verdict claims={claims} space={space} isOwn={token === tokenOf(space)} />}
      {token !== null && (
        <CopyField
          label="3. Send them this link"
          testId="share-link"
          value={`${addressOf(space)}#token=${token}`}
          notify={notify}
        />
      )}
      <p className="hint">
        Whoever has the link is taken for the person that it names. What follows the # is not sent to any server when it
        is opened.
      </p>
    </section>
  );
}

function Verdict({ claims, space, isOwn }: { claims: Claims | null; space: string; isOwn: boolean }) {
  if (!claims) return <p className="problem">This is not a token.</p>;
  if (isOwn) return <p className="problem">This is your own token: with it they would be taken for you.</p>;
  if (!claims.spaces.includes('*') && !claims.spaces.includes(space)) {
    return (
      <p className="problem">
        This token does not open “{space}”, but {claims.spaces.join(', ') || 'nothing'}.
      </p>
    );
  }
  return <p data-testid="verdict">For {claimsWords(claims)}.</p>;
}

function claimsWords({ user, role, expiresAt }: Claims): string {
  const may = role === 'read' ? 'only look' : 'edit';
  const until = expiresAt === null ? '' : `, until ${momentWords(expiresAt)}`;
  return `${user}, who may ${may}${until}`;
}

/** The pass that this device has for the space, and a place for another. */
function YourPass({ space, isIn, notify }: PartProps & { isIn: boolean }) {
  const [text, setText] = useState('');
  const own = tokenOf(space);
  const claims = own === null ? null : readToken(own);
  const isOver = claims?.expiresAt != null && claims.expiresAt < Date.now();
  const waiting = useStatusPart(({ queued, in_flight, parked }) => queued + in_flight + parked);
  const [asked, setAsked] = useState<string | null>();
  const use = (token: string | null) => {
    keepToken(space, token);
    // As somebody else the space is another on this device: it is opened anew.
    location.reload();
  };
  const askOrUse = (token: string | null) => {
    const isSame = token !== null && readToken(token)?.user === claims?.user;
    if (waiting > 0 && !isSame) setAsked(token);
    else use(token);
  };
  return (
    <section aria-labelledby="share-own">
      <h3 id="share-own">Your own link</h3>
      <p>
        {!claims && (isIn ? 'You are here without one.' : 'This space asks for one, and this device has none.')}
        {claims && !isOver && `You are here with a link for ${claimsWords(claims)}.`}
        {claims && isOver && `Your link, for ${claims.user}, has ended ${agoWords(claims.expiresAt ?? 0)}.`}
      </p>
      <form
        className="field-row"
        onSubmit={(event) => {
          event.preventDefault();
          const token = tokenIn(text);
          if (token === null) notify('This is no link with a token, and no token.');
          else askOrUse(token);
        }}
      >
        <input
          className="field"
          aria-label="A link, or a token, that you were given"
          placeholder="Paste a link that you were given"
          data-testid="use-link"
          autoComplete="off"
          spellCheck={false}
          value={text}
          onChange={(event) => setText(event.target.value)}
        />
        <button type="submit" className="button" disabled={text === ''}>
          Use it
        </button>
      </form>
      {claims && (
        <button type="button" className="text-button" onClick={() => askOrUse(null)}>
          Forget it on this device
        </button>
      )}
      {asked !== undefined && (
        <Ask
          title="Leave unsent work behind?"
          keep="Stay"
          action="Go on"
          act={() => use(asked)}
          close={() => setAsked(undefined)}
        >
          <p>
            Not on the server yet: {countOf(waiting, 'change')} made here{' '}
            {claims ? `by ${claims.user}` : 'without a link'}. What is not sent stays on this device, and goes once this
            canvas is opened on it {claims ? `with a link for ${claims.user}` : 'without a link'} again. Until then
            nobody sees it.
          </p>
        </Ask>
      )}
    </section>
  );
}
