/** What two texts have in common that differ only in numbers: their first line, without them. */
export const nameOf = (text) => text.split('\n')[0].replaceAll(/\d+/g, '#');

/** Counts texts by that. */
export class Tally {
  #counts = new Map();

  add(text) {
    const name = nameOf(text);
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
  }

  /** Names and how often, the most frequent first. */
  get rows() {
    return [...this.#counts].sort(([, a], [, b]) => b - a);
  }

  /** The same to be printed; a line that says so where there is nothing. */
  get lines() {
    const lines = this.rows.map(([name, count]) => `  ${String(count).padStart(5)}  ${name}`);
    return lines.length > 0 ? lines : ['      0'];
  }
}
