/** Small things that this device keeps for the app. Where the browser allows no storage, the tab keeps them. */

const PREFIX = 'driftline.';
const inTab = new Map<string, string>();

export function kept<T>(key: string): T | undefined {
  const text = read(key) ?? inTab.get(key);
  try {
    return text === undefined ? undefined : (JSON.parse(text) as T);
  } catch {
    return undefined;
  }
}

export function keep(key: string, value: unknown): void {
  const text = JSON.stringify(value) as string | undefined;
  // What the browser keeps the tab does not: another tab may take it away.
  inTab.delete(key);
  try {
    if (text === undefined) localStorage.removeItem(PREFIX + key);
    else localStorage.setItem(PREFIX + key, text);
  } catch {
    if (text !== undefined) inTab.set(key, text);
    drop(key);
  }
}

/** What was kept before must not be taken for it. */
function drop(key: string): void {
  try {
    localStorage.removeItem(PREFIX + key);
  } catch {
    // There is nothing then.
  }
}

export function keptKeys(prefix: string): string[] {
  const keys = [...inTab.keys()];
  try {
    keys.push(...Object.keys(localStorage).map((key) => (key.startsWith(PREFIX) ? key.slice(PREFIX.length) : '')));
  } catch {
    // Only what the tab has.
  }
  return [...new Set(keys)].filter((key) => key.startsWith(prefix));
}

function read(key: string): string | undefined {
  try {
    return localStorage.getItem(PREFIX + key) ?? undefined;
  } catch {
    return undefined;
  }
}
