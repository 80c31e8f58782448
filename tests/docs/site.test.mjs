// The site is built from the pages, every link leads somewhere, and the public API is on one page.

import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { buildSite, readPages, render } from '../../scripts/docs.mjs';
import { ROOT, tempDir } from '../browser/harness.mjs';

test('p3_the_site_builds_and_no_link_is_dead', async () => {
  const folder = tempDir('site');
  const count = await buildSite(folder);
  const files = await readdir(folder, { recursive: true });
  const pages = files.filter((name) => name.endsWith('.html'));
  assert.equal(pages.length, count);
  assert.equal(count, (await readPages()).size);

  // Every address on every page is that of a file, or of a heading, of the site.
  for (const page of pages) {
    const html = await readFile(join(folder, page), 'utf8');
    for (const [, address] of html.matchAll(/(?:href|src)="([^"]*)"/g)) {
      if (/^[a-z]+:/.test(address)) continue;
      const { pathname, hash } = new URL(address, `file:///${page}`);
      const target = decodeURIComponent(pathname).slice(1);
      assert.ok(files.includes(target), `${page} links to ${address}`);
      if (hash === '') continue;
      const text = await readFile(join(folder, target), 'utf8');
      assert.ok(text.includes(`id="${decodeURIComponent(hash.slice(1))}"`), `${page} links to ${address}`);
    }
  }
});

test('p3_a_dead_link_is_found', async () => {
  const pages = await readPages();
  const planted = [
    ['[a](nowhere.md)', 'there is no docs/nowhere.md'],
    ['[a](engines.md#no-such-heading)', 'no heading of docs/engines.md is #no-such-heading'],
    ['[a](#nor-here)', 'no heading of docs/operations.md is #nor-here'],
    ['![a](nothing.png)', 'there is no docs/nothing.png'],
    ['[a](../../outside.md)', 'there is no ../outside.md'],
  ];
  for (const [link, problem] of planted) {
    const changed = new Map(pages).set('docs/operations.md', `${pages.get('docs/operations.md')}\n\n${link}\n`);
    assert.deepEqual((await render(changed)).dead, [`docs/operations.md: ${problem}`]);
  }
});

test('p3_all_that_the_package_exports_is_on_the_page_of_the_api', async () => {
  const api = (await readPages()).get('docs/api.md');
  const headings = [...api.matchAll(/^### (\w+)$/gm)].map(([, name]) => name);
  const index = await readFile(join(ROOT, 'crates/driftline-client/ts/index.ts'), 'utf8');
  const exported = [...index.matchAll(/^export (?:type )?\{([^}]*)\}/gm)].flatMap(([, names]) =>
    names.split(',').map((name) => name.replace(/\btype\b/, '').trim()),
  );
  const missing = ['open', 'OpenOptions', ...exported].filter((name) => name !== '' && !headings.includes(name));
  assert.deepEqual(missing, []);
  assert.equal(new Set(headings).size, headings.length, 'each once');
});

test('p3_the_sizes_of_the_comparison_are_those_that_were_measured', async () => {
  const figures = JSON.parse(await readFile(join(ROOT, 'docs', 'peers.json'), 'utf8'));
  const page = await readFile(join(ROOT, 'docs', 'comparison.md'), 'utf8');
  const [table] = page.split('## Size\n')[1].split('\n## ');
  const said = [...table.matchAll(/^\| (.+) \| (\d+) \|$/gm)].map(([, name, kb]) => [
    name.replaceAll('*', ''),
    Number(kb),
  ]);
  const sizes = figures.filter(({ unit }) => unit === 'bytes').sort((a, b) => a.value - b.value);
  assert.deepEqual(
    said.map(([, kb]) => kb),
    sizes.map(({ value }) => Math.round(value / 1_000)),
  );
  for (const [i, { peer }] of sizes.entries()) {
    const [first] = peer.split(' ');
    assert.ok(said[i][0].startsWith(first), `${said[i][0]} stands where ${peer} should`);
  }
});

test('llms.txt names only what is there, and every page of the documentation', async () => {
  const text = await readFile(join(ROOT, 'llms.txt'), 'utf8');
  const linked = [...text.matchAll(/\]\(([^)]+)\)/g)].map(([, path]) => path);
  for (const path of linked) await readFile(join(ROOT, path));
  const guides = (await readdir(join(ROOT, 'docs', 'guide'))).map((name) => `docs/guide/${name}`);
  assert.deepEqual(
    guides.filter((path) => !linked.includes(path)),
    [],
  );
});
