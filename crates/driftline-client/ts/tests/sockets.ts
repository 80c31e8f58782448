/** A stand-in for the browser's WebSocket: tests open it, speak as the server over it, and read what was said. */

export class FakeSocket {
  static all: FakeSocket[] = [];
  readonly url: string;
  readonly sent: unknown[] = [];
  readyState = 0;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;

  constructor(url: string) {
    this.url = url;
    FakeSocket.all.push(this);
  }

  /** The newest. */
  static get last(): FakeSocket {
    const last = FakeSocket.all.at(-1);
    if (!last) throw new Error('nobody has connected');
    return last;
  }

  send(text: string): void {
    if (this.readyState !== 1) throw new Error('it is not open');
    this.sent.push(JSON.parse(text));
  }

  close(): void {
    this.readyState = 3;
  }

  open(): void {
    this.readyState = 1;
    this.onopen?.();
  }

  /** What the server says. */
  say(message: object): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  /** The server closes, or with 1006 the network fails. */
  end(code: number): void {
    this.readyState = 3;
    this.onclose?.({ code });
  }
}

/** Takes the place of the browser's. */
export function fakeSockets(): void {
  FakeSocket.all = [];
  Object.assign(globalThis, { WebSocket: FakeSocket });
}

/** What has been promised so far has happened. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) await undefined;
}
