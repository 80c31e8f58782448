/**
 * The pass to a space: a token that came in the fragment of a link, which no server and no proxy gets to see. It stays on this
 * device, leaves the address, and is handed to the engine.
 */

import { keep, kept, keptKeys } from '../states/kept.js';
import { forgetLook } from '../states/look.js';

/** What a token says of itself. Only the server can tell whether it is true. */
export interface Claims {
  /** Whom it names. */
  readonly user: string;
  readonly role: 'read' | 'write';
  /** Names of spaces; `*` is all of them. */
  readonly spaces: readonly string[];
  /** In ms since 1970; null where it has no end. */
  readonly expiresAt: number | null;
}

const key = (space: string) => `pass.${space}`;
/** Where it is kept what the server said of the pass. */
export const accessKey = (space: string) => `access.${space}`;

export function tokenOf(space: string): string | null {
  return kept<string>(key(space)) ?? null;
}

/** Whoever had a pass on this device: what they made is here, and waits for their link. */
const USERS = 'users';
const USERS_MAX = 50;
/** Who was here before the pass that is new; null for whoever came without one. */
const formerKey = (space: string) => `former.${space}`;

export function keepToken(space: string, token: string | null): void {
  if (token === tokenOf(space)) return;
  const before = userOf(space);
  if (before !== (token === null ? undefined : readToken(token)?.user)) keep(formerKey(space), before ?? null);
  if (before !== undefined)
    keep(USERS, [before, ...formerUsers().filter((user) => user !== before)].slice(0, USERS_MAX));
  keep(key(space), token ?? undefined);
  keep(accessKey(space), undefined);
  forgetLook(space);
}

/** With what the server said of it, and what was noted beside it. */
export function forgetPass(space: string): void {
  for (const name of [key(space), accessKey(space), formerKey(space)]) keep(name, undefined);
}

/** What a request of the app itself, beside the engine's, shows the server. */
export function headersFor(space: string): Record<string, string> {
  const token = tokenOf(space);
  return token === null ? {} : { authorization: `Bearer ${token}` };
}

/** Whose work on this device a space's pass opens; `undefined` without one. */
export function userOf(space: string): string | undefined {
  const token = tokenOf(space);
  return token === null ? undefined : readToken(token)?.user;
}

const formerUsers = () => kept<string[]>(USERS) ?? [];

/** Everybody whose pass this device has, or had. */
export function knownUsers(): string[] {
  const users = keptKeys('pass.').flatMap((name) => userOf(name.slice('pass.'.length)) ?? []);
  return [...new Set([...users, ...formerUsers()])];
}

/** Whose work a space on this device was before its pass changed, if nobody has asked since; null: of whoever came without a pass. */
export function takeFormerUser(space: string): string | null | undefined {
  const former = kept<string | null>(formerKey(space));
  keep(formerKey(space), undefined);
  return former;
}

/** Takes the token out of the page's address, if there is one. Says whether there was. */
export function takeFromAddress(space: string): boolean {
  const token = inFragment(location.hash);
  if (token === undefined) return false;
  keepToken(space, token);
  const address = new URL(location.href);
  address.hash = '';
  history.replaceState(history.state, '', address);
  return true;
}

/** The token of a link, or what stands alone and looks like one. */
export function tokenIn(text: string): string | null {
  const inLink = inFragment(text);
  if (inLink !== undefined) return inLink;
  return readToken(text.trim()) ? text.trim() : null;
}

function inFragment(text: string): string | undefined {
  return text.match(/#(?:.*&)?token=([^&\s]+)/)?.[1];
}

export function readToken(token: string): Claims | null {
  try {
    const [, payload = ''] = token.split('.');
    const bytes = Uint8Array.from(atob(payload.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
    const claims = JSON.parse(new TextDecoder().decode(bytes));
    if (typeof claims?.sub !== 'string') return null;
    return {
      user: claims.sub,
      role: claims.role === 'read' ? 'read' : 'write',
      spaces: Array.isArray(claims.spaces) ? claims.spaces.filter((name: unknown) => typeof name === 'string') : [],
      expiresAt: typeof claims.exp === 'number' ? claims.exp * 1000 : null,
    };
  } catch {
    return null;
  }
}
