/** When to draw: at most once a frame, and less often where drawing takes long. */

const REST_MS = 80;
/** A twentieth of the time at most goes into what nobody has asked for by a click. */
const REST_SHARE = 19;
const REST_MAX_MS = 2_000;

export class Pace {
  readonly #work: () => void;
  #frame = 0;
  #timer = 0;
  #restUntil = 0;
  #isOver = false;

  constructor(work: () => void) {
    this.#work = work;
  }

  /** After a rest. */
  soon(): void {
    if (this.#isOver || this.#timer !== 0) return;
    const rest = Math.max(0, this.#restUntil - performance.now());
    this.#timer = window.setTimeout(() => {
      this.#timer = 0;
      this.next();
    }, rest);
  }

  /** With the next frame, as whoever has clicked expects. */
  next(): void {
    if (this.#isOver || this.#frame !== 0) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.now();
    });
  }

  now(): void {
    const start = performance.now();
    this.#work();
    const end = performance.now();
    this.#restUntil = end + Math.min(REST_MAX_MS, Math.max(REST_MS, (end - start) * REST_SHARE));
  }

  stop(): void {
    this.#isOver = true;
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#timer);
  }
}
