// The file behind the server: each push that changes anything is a line, on the disk before it is answered. What is in memory
// follows from the lines, so a server that starts anew takes them in again, one by one.

import { Buffer } from 'node:buffer';
import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { Space } from './space.mjs';
import { readPush } from './wire.mjs';

export class Store {
  constructor(file, schema, faults = new Set()) {
    Object.assign(this, { schema, faults, spaces: new Map() });
    this.fd = openSync(file, 'a+');
    this.recover(readFileSync(file));
  }

  /** A last line that was not written whole was never answered. */
  recover(bytes) {
    const whole = bytes.lastIndexOf(0x0a) + 1;
    ftruncateSync(this.fd, whole);
    fsyncSync(this.fd);
    for (const line of bytes.toString('utf8', 0, whole).split('\n').slice(0, -1)) {
      const { space, principal, text, moment } = JSON.parse(line);
      this.open(space).push(principal, readPush(this.schema, text), moment);
    }
  }

  /** A space that was never written is empty, and is kept only once it is written. */
  look(name) {
    return this.spaces.get(name) ?? new Space(this.schema, this.faults);
  }

  open(name) {
    if (!this.spaces.has(name)) this.spaces.set(name, new Space(this.schema, this.faults));
    return this.spaces.get(name);
  }

  /** Takes in the text of a push: what to answer, once it is on the disk. */
  push(name, principal, text) {
    const push = readPush(this.schema, text);
    this.look(name).check(principal, push);
    const receipts = push.clients.map(() => randomBytes(8).toString('hex'));
    const moment = { now: Date.now(), receipts };
    this.append({ space: name, principal, text, moment });
    const space = this.open(name);
    const told = space.push(principal, push, moment);
    const { changes, more, reload } =
      push.cursor === null ? { changes: [], more: false, reload: false } : space.changes(principal, push.cursor);
    const digest = more || reload ? {} : { digest: space.rows.digest };
    return { schema: this.schema.version, rev: space.rev, more, ...digest, reload, ...told, changes };
  }

  append(entry) {
    const line = Buffer.from(`${JSON.stringify(entry)}\n`);
    for (let written = 0; written < line.length; ) written += writeSync(this.fd, line, written);
    fsyncSync(this.fd);
  }

  close() {
    closeSync(this.fd);
  }
}
