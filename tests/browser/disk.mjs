// A disk of a few megabytes, which can be filled to the last byte, and emptied again.
//
//   const disk = await smallDisk({ megabytes: 8 });
//   const server = await startServer({ schema, migrations, disk });
//   disk.fill();
//   disk.free();
//
// It is a tmpfs in a mount namespace of its own, so that it takes no rights, is seen by nobody else, and is gone with its process.

import { spawn } from 'node:child_process';
import { closeSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { endAtExit, tempDir } from './harness.mjs';

const PAGE_BYTES = 4096;

export async function smallDisk({ megabytes }) {
  const path = tempDir('disk');
  // It ends when this process does, because its input then does.
  const script = `mount -t tmpfs -o size=${megabytes}m,mode=0700 tmpfs "${path}" && echo mounted && exec cat`;
  const holder = spawn('unshare', ['--user', '--map-root-user', '--mount', 'sh', '-c', script], { stdio: 'pipe' });
  let isGone = false;
  endAtExit(() => {
    isGone = true;
    holder.kill('SIGKILL');
  });
  await new Promise((mounted, failed) => {
    let said = '';
    const fail = (why) =>
      failed(
        new Error(
          `no small disk can be made here (${why}): it takes \`unshare\`, and user namespaces that may mount a tmpfs ` +
            '(sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns; in a container also its seccomp profile)',
        ),
      );
    holder.stderr.on('data', (data) => {
      said += data;
    });
    createInterface({ input: holder.stdout }).once('line', mounted);
    holder.once('error', (error) => fail(error.message));
    holder.once('close', (code) => fail(said.trim() || `exit code ${code}`));
  });

  const outside = `/proc/${holder.pid}/root${path}`;
  const ballast = join(outside, 'ballast');
  return {
    /** Where it is for programs that are started `within`. */
    path,
    /** Where it is for this process. */
    outside,
    within: ['nsenter', '--target', String(holder.pid), '--user', '--preserve-credentials', '--mount', '--'],
    get isGone() {
      return isGone;
    },
    get freeBytes() {
      const { bavail, bsize } = statfsSync(outside);
      return bavail * bsize;
    },
    /** Takes all the room there is, but for `leave` bytes. */
    fill({ leave = 0 } = {}) {
      const file = openSync(ballast, 'a');
      const page = Buffer.alloc(PAGE_BYTES, 1);
      try {
        while (this.freeBytes > leave) writeSync(file, page);
      } catch (error) {
        if (error.code !== 'ENOSPC') throw error;
      } finally {
        closeSync(file);
      }
    },
    free: () => rmSync(ballast),
  };
}
