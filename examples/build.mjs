// Builds the examples: `node build.mjs [name …]`, all when none is named, each into `dist/<name>`, ready for `driftline serve --static`.

import { createHash } from 'node:crypto';
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const HERE = dirname(fileURLToPath(import.meta.url));
const ENTRIES = { 'canvas-2d': 'main.ts', 'react-flow': 'main.tsx', excalidraw: 'main.tsx' };

/** What Excalidraw loads by itself: its fonts, without the 12 MB of Chinese characters. */
const FONTS = join(HERE, 'node_modules', '@excalidraw', 'excalidraw', 'dist', 'prod', 'fonts');
const isWanted = (path) => !path.includes('Xiaolai');

export async function buildExample(name) {
  const from = join(HERE, name);
  const to = join(HERE, 'dist', name);
  await rm(to, { recursive: true, force: true });
  await mkdir(to, { recursive: true });
  await build({
    entryPoints: { main: join(from, ENTRIES[name]) },
    outdir: to,
    bundle: true,
    splitting: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    jsx: 'automatic',
    define: { 'process.env.NODE_ENV': '"production"', 'import.meta.env': 'undefined' },
    conditions: ['production'],
    // The package is linked here from another folder; what it imports is to be found from here, as if it were installed.
    preserveSymlinks: true,
    // Excalidraw's stylesheet names its fonts by where they are copied to.
    external: ['*.woff2'],
    // Diagrams from Mermaid texts are not part of the example, and would be most of its bytes.
    alias: name === 'excalidraw' ? { '@excalidraw/mermaid-to-excalidraw': './excalidraw/no-mermaid.ts' } : {},
    absWorkingDir: HERE,
    logLevel: 'warning',
  });
  await cp(join(from, 'index.html'), join(to, 'index.html'));
  // The engine is looked for beside the script that opens the space.
  await cp(
    fileURLToPath(import.meta.resolve('driftline/driftline_client_bg.wasm')),
    join(to, 'driftline_client_bg.wasm'),
  );
  if (name === 'excalidraw') await cp(FONTS, join(to, 'fonts'), { recursive: true, filter: isWanted });
  await writeSchema(from);
  await writeServiceWorker(to);
}

/** `server/schema.json`, which the server and its migrations are made from. */
async function writeSchema(from) {
  const { outputFiles } = await build({
    entryPoints: [join(from, 'schema.ts')],
    bundle: true,
    format: 'esm',
    preserveSymlinks: true,
    external: ['./driftline_client.js'],
    write: false,
  });
  const { schema } = await import(
    `data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString('base64')}`
  );
  await mkdir(join(from, 'server'), { recursive: true });
  await writeFile(join(from, 'server', 'schema.json'), `${JSON.stringify(schema, null, 2)}\n`);
}

/** The worker that keeps the page for a start without a network, with the names of all that was built. */
async function writeServiceWorker(to) {
  const entries = await readdir(to, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(to, join(entry.parentPath, entry.name)))
    .sort();
  const hash = createHash('sha256');
  for (const file of files) hash.update(file).update(await readFile(join(to, file)));
  await build({
    entryPoints: [join(HERE, 'service-worker.ts')],
    outdir: to,
    bundle: true,
    minify: true,
    preserveSymlinks: true,
    define: { VERSION: JSON.stringify(hash.digest('hex').slice(0, 16)), FILES: JSON.stringify(files) },
    absWorkingDir: HERE,
    logLevel: 'warning',
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(ENTRIES);
  for (const name of names) await buildExample(name);
}
