// `npm start`: installs what is missing, builds, brings the database up to date, and serves the canvas app and the
// sync server on one address until it is told to stop.

import { spawn } from 'node:child_process';
import { cp, mkdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { build } from './build.mjs';
import { ROOT, run, runAsCommand, SERVER_BINARY, say, TARGET_DIR } from './run.mjs';

async function start() {
  const port = process.env.PORT ?? '4077';
  const data = resolve(process.env.DRIFTLINE_DATA ?? join(ROOT, 'data'));
  const app = join(ROOT, 'www');
  const place = [
    '--schema',
    join(app, 'server', 'schema.json'),
    '--migrations',
    join(app, 'server', 'migrations'),
    '--data',
    data,
  ];

  await build();
  const site = await assembleSite(app);
  await mkdir(data, { recursive: true });
  // The server never alters tables by itself, so that starting it needs this step of its own.
  await run(SERVER_BINARY, ['migrate', 'apply', ...place]);
  await serve([...place, '--listen', `127.0.0.1:${port}`, '--static', site], data);
}

/** The app, and the documentation under `/docs/`: a copy, because the build knows the app's own folder by its hash. */
async function assembleSite(app) {
  const site = join(TARGET_DIR, 'site');
  await rm(site, { recursive: true, force: true });
  await cp(join(app, 'dist'), site, { recursive: true });
  // Imported here and not above, because it uses an npm package, which `build` has installed only now.
  const { buildSite } = await import('./docs.mjs');
  await buildSite(join(site, 'docs'));
  return site;
}

async function serve(args, data) {
  const server = spawn(SERVER_BINARY, ['serve', ...args], { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'] });
  createInterface({ input: server.stdout }).on('line', (line) => {
    const address = line.match(/listening on (http:\/\/\S+)/)?.[1];
    if (address === undefined) console.log(line);
    else say(`Driftline is running. Open ${address} (data in ${data}; Ctrl-C stops it).`);
  });

  // A terminal sends Ctrl-C to the server as well; only a signal that was sent to this process alone is passed on.
  process.on('SIGINT', () => process.stdin.isTTY || server.kill('SIGINT'));
  process.on('SIGTERM', () => server.kill('SIGTERM'));

  process.exitCode = await new Promise((done, failed) => {
    server.once('error', (error) => failed(new Error(`${SERVER_BINARY}: ${error.message}`)));
    server.once('close', (code) => done(code ?? 1));
  });
}

await runAsCommand(import.meta.url, start);
