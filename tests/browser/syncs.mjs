// What a browser has the disk keep for good, as the system calls show it.

import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { tempDir, until } from './harness.mjs';

// Where Chromium and WebKit, and where Firefox keep databases.
const INDEXED_DB = /IndexedDB|\/idb\//;

/** Runs `body` while strace watches the processes, and returns the syncs of IndexedDB's files: when each began and ended. */
export async function traceSyncs(pids, body) {
  const output = join(tempDir('strace'), 'trace');
  const attach = pids.flatMap((pid) => ['-p', String(pid)]);
  const args = ['-f', '-y', '-ttt', '-e', 'trace=fsync,fdatasync', '-o', output, ...attach];
  const strace = spawn('strace', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  strace.stderr.on('data', (data) => {
    said += data;
  });
  const ended = new Promise((done) => strace.once('close', done));
  try {
    // One that a browser keeps in reserve may end meanwhile.
    const isAttached = () =>
      pids.every((pid) => said.includes(`Process ${pid} attached`) || !existsSync(`/proc/${pid}`));
    await until('strace to attach', () => isAttached() || strace.exitCode !== null);
    if (!isAttached()) return { refused: said.trim() };
    const result = await body();
    return { result, syncs: () => parseSyncs(readFileSync(output, 'utf8')), said };
  } finally {
    // It lets go of the processes and writes out what it has.
    strace.kill('SIGINT');
    await ended;
  }
}

function parseSyncs(text) {
  const syncs = [];
  const under = new Map(); // Calls that had not returned when another thread's were written, by thread.
  for (const line of text.split('\n')) {
    const [, thread, at, rest] = line.match(/^(\d+)\s+(\d+\.\d+) (.*)$/) ?? [];
    if (rest === undefined) continue;
    const ms = Number(at) * 1000;
    const path = rest.match(/^f(?:data)?sync\(\d+<([^>]*)>/)?.[1];
    if (path === undefined) {
      const began = under.get(thread);
      if (rest.includes('resumed>') && began) syncs.push({ ...began, ended: ms });
      under.delete(thread);
    } else if (rest.includes('<unfinished')) {
      under.set(thread, { path, began: ms });
    } else {
      // Without a resumption it returned before anything else was written, so its beginning is as good.
      syncs.push({ path, began: ms, ended: ms });
    }
  }
  return syncs.filter((sync) => INDEXED_DB.test(sync.path));
}
