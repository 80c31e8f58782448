// The peers' pages as a browser loads them, and what an app ships for each peer.

import { join } from 'node:path';
import { brotliCompressSync, constants } from 'node:zlib';
import { build } from 'esbuild';
import { HERE } from './list.mjs';

const OPTIONS = {
  absWorkingDir: HERE,
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  platform: 'browser',
  define: { 'process.env.NODE_ENV': '"production"', global: 'globalThis' },
  loader: { '.wasm': 'file' },
  logLevel: 'error',
};

/** Writes a module for each of the page modules to `folder`. */
export async function bundlePages(modules, folder) {
  await build({
    ...OPTIONS,
    entryPoints: ['run', ...modules].map((module) => join(HERE, 'site', `${module}.js`)),
    // The stage's site hands these out; each peer has the same.
    external: ['/work.js', '/ours.js'],
    outdir: folder,
  });
}

/** Bytes after brotli of what these exports, and whatever they need, come to: wasm included. */
export async function shippedBytes(exports) {
  const { outputFiles } = await build({
    ...OPTIONS,
    stdin: { contents: exports, resolveDir: HERE, loader: 'js' },
    outdir: join(HERE, 'memory'),
    write: false,
  });
  const sizes = outputFiles.map(({ contents }) => {
    const params = { [constants.BROTLI_PARAM_SIZE_HINT]: contents.length };
    return brotliCompressSync(contents, { params }).length;
  });
  return sizes.reduce((sum, size) => sum + size);
}
