#!/usr/bin/env node
/**
 * `driftline-worker FOLDER`, to be run after a build: writes `worker.js` into the folder of the built page, a service worker that keeps
 * all that is in it. The same for every bundler, since it looks at what was built and not at how.
 */

import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, sep } from 'node:path';

const WORKER = 'worker.js';
/**
 * What no page asks for: maps are for tools, what is compressed already is sent in place of the file itself, and hosts read the rest, or
 * answer it with 404.
 */
const NOT_ASKED_FOR = /\.(map|gz|br|zst)$|(^|\/)(404\.html|_headers|_redirects)$/;
const USAGE = 'usage: driftline-worker FOLDER, the folder of a built page';

/** The files that a page may ask for, by paths from the folder with slashes. */
function filesIn(folder: string): string[] {
  const paths = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((path) =>
    statSync(join(folder, path)).isFile(),
  );
  const isAskedFor = (path: string) => path !== WORKER && !NOT_ASKED_FOR.test(path) && !/(^|\/)\./.test(path);
  return paths
    .map((path) => path.split(sep).join('/'))
    .filter(isAskedFor)
    .sort();
}

/** Servers give a folder's page at the folder's address. */
function addressOf(path: string): string {
  const address = path.split('/').map(encodeURIComponent).join('/');
  return `./${address.replace(/(^|\/)index\.html$/, '$1')}`;
}

function problemOf(folder: string, files: readonly string[]): string | undefined {
  if (!files.includes('index.html')) return `${folder} holds no index.html: is it where the page was built?`;
  if (!files.some((file) => file.endsWith('.wasm')))
    return `${folder} holds no engine: copy node_modules/driftline/dist/driftline_client_bg.wasm beside the script`;
  return undefined;
}

const hashOf = (file: string) => createHash('sha256').update(readFileSync(file)).digest('base64');

function write(folder: string): void {
  if (!existsSync(folder)) throw new Error(`there is no folder ${folder}: is it built?`);
  const files = filesIn(folder);
  const problem = problemOf(folder, files);
  if (problem) throw new Error(problem);
  const script = readFileSync(new URL('./worker.js', import.meta.url), 'utf8');
  const integrity = Object.fromEntries(files.map((file) => [addressOf(file), `sha256-${hashOf(join(folder, file))}`]));
  const version = createHash('sha256').update(script).update(JSON.stringify(integrity)).digest('hex').slice(0, 16);
  const options = { version, files: Object.keys(integrity), integrity };
  writeFileSync(join(folder, WORKER), `${script}driftline.precache(${JSON.stringify(options)});\n`);
  console.log(`${join(folder, WORKER)} keeps ${files.length} files for starts without a network`);
}

const [folder, ...others] = process.argv.slice(2);
try {
  if (folder === undefined || folder.startsWith('-') || others.length > 0) throw new Error(USAGE);
  write(folder);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
