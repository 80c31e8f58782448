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

  /** Whether it was so at that time, or within so many ms before. */
  was = (what, withinMs = 0, at = this.#now()) =>
    this.#spans.some((span) => span.what === what && span.from <= at && span.to >= at - withinMs);

  /** For how long it had been so without a break by then, in ms; 0 where it was not. */
  lasts(what, at = this.#now()) {
    const span = this.#spans.find((one) => one.what === what && one.from <= at && one.to > at);
    return span ? at - span.from : 0;
  }
}
