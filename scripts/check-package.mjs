// Checks the npm package as it would be published: what its `exports` name is in it, and nothing else came along.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { capture, ROOT } from './run.mjs';

const ALWAYS_PACKED = /^(package\.json|README\.md|LICENSE[^/]*)$/;

/** Throws, naming the files, if the packed package lacks one that it promises or holds one that nobody asked for. */
export async function checkPackage() {
  const manifest = JSON.parse(await readFile(join(ROOT, 'crates', 'driftline-client', 'package.json'), 'utf8'));
  const [packed] = JSON.parse(
    await capture('npm', ['pack', '--dry-run', '--json', '--ignore-scripts', '-w', 'driftline']),
  );
  const files = packed.files.map((file) => file.path);

  const promised = [manifest.main, manifest.types, ...pathsIn(manifest.exports)].filter((path) =>
    path?.startsWith('./'),
  );
  const missing = promised.map((path) => path.slice(2)).filter((path) => !path.includes('*') && !files.includes(path));
  if (missing.length > 0) throw new Error(`the npm package promises ${missing.join(', ')} but does not hold it`);
  if (!files.some((path) => path.endsWith('.wasm'))) throw new Error('the npm package holds no wasm');

  const stray = files.filter((path) => !path.startsWith('dist/') && !ALWAYS_PACKED.test(path));
  if (stray.length > 0) throw new Error(`the npm package would publish ${stray.join(', ')}`);
  console.log(`${packed.name} ${packed.version}: ${files.length} files, ${packed.size} bytes packed`);
}

function pathsIn(target) {
  if (typeof target === 'string') return [target];
  return Object.values(target ?? {}).flatMap(pathsIn);
}
