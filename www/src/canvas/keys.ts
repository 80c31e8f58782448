/** Keys by name, such as `Mod+Shift+Z`; `Mod` is Ctrl, and Command on Apple's keyboards. */

const IS_APPLE = /Mac|iPhone|iPad/.test(globalThis.navigator?.platform ?? '');

type Pressed = Pick<KeyboardEvent, 'key' | 'code' | 'ctrlKey' | 'metaKey' | 'altKey' | 'shiftKey'>;

export function keyName({ key, code, ctrlKey, metaKey, altKey, shiftKey }: Pressed): string {
  // With Shift or Alt, keys write whatever the layout has for them; what is meant is what the key writes alone.
  const [, digit] = (shiftKey && /^Digit(\d)$/.exec(code)) || [];
  const [, letter] = (altKey && /^Key([A-Z])$/.exec(code)) || [];
  const name = digit ?? letter ?? (key === ' ' ? 'Space' : key.length === 1 ? key.toUpperCase() : key);
  // A sign such as `?` is the same sign whether Shift writes it or not.
  const isSign = name.length === 1 && !/[\p{L}\d]/u.test(name);
  return [ctrlKey || metaKey ? 'Mod+' : '', altKey ? 'Alt+' : '', shiftKey && !isSign ? 'Shift+' : '', name].join('');
}

/** A dialog keeps all keys to itself. */
export function isDialogOpen(): boolean {
  return document.querySelector('dialog[open]') !== null;
}

const WORDS: Record<string, string> = {
  Mod: IS_APPLE ? '⌘' : 'Ctrl',
  Alt: IS_APPLE ? '⌥' : 'Alt',
  Escape: 'Esc',
  ArrowLeft: '←',
  ArrowRight: '→',
  ArrowUp: '↑',
  ArrowDown: '↓',
};

/** The key caps of a name, for people. */
export function keyCaps(name: string): string[] {
  return name.split(/\+(?=.)/).map((part) => WORDS[part] ?? part);
}
