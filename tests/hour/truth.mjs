/** What is so for one person, as the script knows it: since when, and until when. */
export class Truth {
  #spans = [];
  #now;

  constructor(now = Date.now) {
    this.#now = now;
  }

  begin(what) {
    const span = { what, from: this.#now(), to: Number.POSITIVE_INFINITY };
    this.#spans.push(span);
  }

  end(what) {
    for (const span of this.#spans) if (span.what === what) span.to = Math.min(span.to, this.#now());
  }

  /** Whether it is so, or was so within that many ms. */
  was = (what, withinMs = 0) => this.#spans.some((span) => span.what === what && span.to >= this.#now() - withinMs);

  /** For how long it has been so without a break, in ms; 0 where it is not. */
  lasts(what) {
    const span = this.#spans.find((one) => one.what === what && one.to > this.#now());
    return span ? this.#now() - span.from : 0;
  }
}
