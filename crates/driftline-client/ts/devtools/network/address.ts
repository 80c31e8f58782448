/** Which addresses are those of a space. */

/** What of the space an address names, as `reconcile`; `null` for every other address. */
export type Finder = (address: string) => string | null;

export function finderOf(space: string): Finder {
  const start = `/v1/spaces/${space}/`;
  return (address) => {
    try {
      const { pathname } = new URL(address, location.href);
      const at = pathname.indexOf(start);
      return at < 0 ? null : pathname.slice(at + start.length);
    } catch {
      return null;
    }
  };
}
