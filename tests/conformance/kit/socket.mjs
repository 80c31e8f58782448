// The client's side of a WebSocket (RFC 6455), as far as a conversation of short texts takes it.

import { Buffer } from 'node:buffer';
import { randomBytes } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';

const TEXT = 1;
const CLOSE = 8;
const PING = 9;
const PONG = 10;
const TIMEOUT_MS = 20_000;

export class Socket {
  static open(url) {
    const headers = {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': randomBytes(16).toString('base64'),
    };
    const request = url.startsWith('https:') ? httpsRequest : httpRequest;
    return new Promise((done, failed) => {
      const asked = request(url, { headers });
      asked.once('error', failed);
      asked.once('response', (response) =>
        failed(new Error(`the server answers ${response.statusCode}, and no WebSocket`)),
      );
      asked.once('upgrade', (_, stream, head) => done(new Socket(stream, head)));
      asked.end();
    });
  }

  constructor(stream, head) {
    Object.assign(this, { stream, buffer: head, texts: [], waiting: [], code: undefined });
    stream.on('data', (bytes) => {
      this.buffer = Buffer.concat([this.buffer, bytes]);
      this.take();
    });
    stream.on('error', () => stream.destroy());
    stream.on('close', () => this.end(this.code ?? 1006));
    this.take();
  }

  take() {
    for (;;) {
      const frame = readFrame(this.buffer);
      if (frame === undefined) break;
      this.buffer = this.buffer.subarray(frame.length);
      if (frame.kind === TEXT) this.texts.push(JSON.parse(frame.body.toString('utf8')));
      if (frame.kind === PING) this.write(PONG, frame.body);
      if (frame.kind === CLOSE) this.end(frame.body.length >= 2 ? frame.body.readUInt16BE(0) : 1005);
    }
    this.wake();
  }

  end(code) {
    this.code ??= code;
    this.stream.end();
    this.wake();
  }

  wake() {
    for (const look of this.waiting.splice(0)) look();
  }

  write(kind, body) {
    const mask = randomBytes(4);
    const head = Buffer.from(body.length < 126 ? [0x80 | kind, 0x80 | body.length] : [0x80 | kind, 0x80 | 126, 0, 0]);
    if (body.length >= 126) head.writeUInt16BE(body.length, 2);
    this.stream.write(Buffer.concat([head, mask, body.map((byte, i) => byte ^ mask[i % 4])]));
  }

  send(text) {
    this.write(TEXT, Buffer.from(text));
  }

  /** The next message that `wants` it; those before are passed over. */
  async receive(wants) {
    const found = await this.until('a message', () => {
      const at = this.texts.findIndex(wants);
      return at < 0 ? undefined : this.texts.splice(0, at + 1).at(-1);
    });
    return found;
  }

  /** The code that the server closes it with. */
  closed() {
    return this.until('the end of the connection', () => this.code);
  }

  until(what, look) {
    return new Promise((done, failed) => {
      const timer = setTimeout(() => failed(new Error(`${what} did not come within ${TIMEOUT_MS} ms`)), TIMEOUT_MS);
      const check = () => {
        const found = look();
        if (found === undefined && this.code === undefined) return void this.waiting.push(check);
        clearTimeout(timer);
        if (found === undefined) failed(new Error(`the connection was closed with ${this.code} before ${what} came`));
        else done(found);
      };
      check();
    });
  }

  close() {
    this.stream.destroy();
  }
}

function readFrame(bytes) {
  if (bytes.length < 2) return undefined;
  const short = bytes[1] & 0x7f;
  const start = short === 126 ? 4 : short === 127 ? 10 : 2;
  if (bytes.length < start) return undefined;
  const size = short === 126 ? bytes.readUInt16BE(2) : short === 127 ? Number(bytes.readBigUInt64BE(2)) : short;
  if (bytes.length < start + size) return undefined;
  return { kind: bytes[0] & 0x0f, body: bytes.subarray(start, start + size), length: start + size };
}
