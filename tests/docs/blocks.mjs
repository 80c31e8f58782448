// The blocks of code on the pages that people read.
//
//   ```ts              a module of its own
//   ```ts continued    goes on from the block before it
//   ```ts relay.ts     a file of this name, which others of the page may import
//   ```text            is not code, or none that can be tried here
//
// What follows the language is not shown where the page is.

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ROOT } from '../../scripts/run.mjs';

const FENCE = /^```(\S*)[ \t]*(.*)$/;
const FOLDERS = ['docs', 'docs/guide'];

/** The READMEs of the project and of the package, docs/*.md and docs/guide/*.md, each with its text. */
export async function readPages() {
  const paths = ['README.md', 'crates/driftline-client/README.md'];
  for (const folder of FOLDERS) {
    const names = (await readdir(join(ROOT, folder))).filter((name) => name.endsWith('.md')).sort();
    paths.push(...names.map((name) => `${folder}/${name}`));
  }
  return await Promise.all(paths.map(async (path) => ({ path, text: await readFile(join(ROOT, path), 'utf8') })));
}

/** The blocks of a page, in order. `line` is that of the first line of code, counted from 1. */
export function blocksOf({ path, text }) {
  const blocks = [];
  let open;
  for (const [index, line] of text.split('\n').entries()) {
    const fence = FENCE.exec(line);
    if (!fence) open?.code.push(line);
    else if (open) {
      if (fence[1] !== '') throw new Error(`${path}:${index + 1}: a fence begins within a block`);
      blocks.push({ ...open, code: open.code.join('\n') });
      open = undefined;
    } else {
      const [, language, rest] = fence;
      const name = rest === '' || rest === 'continued' ? undefined : rest;
      open = { page: path, line: index + 2, language, name, isContinued: rest === 'continued', code: [] };
    }
  }
  if (open) throw new Error(`${open.page}:${open.line}: the block has no end`);
  return blocks;
}

/** The modules that the blocks of a language make: what continues another block is part of its module. */
export function modulesOf(blocks, language) {
  const modules = [];
  for (const block of blocks.filter((one) => one.language === language)) {
    const before = modules.findLast((one) => one.page === block.page && one.name === undefined);
    if (!block.isContinued)
      modules.push({ page: block.page, line: block.line, name: block.name, language, blocks: [block] });
    else if (before) before.blocks.push(block);
    else throw new Error(`${block.page}:${block.line}: there is no block that this one could continue`);
  }
  return modules;
}

/** A module's code, each line where it stands on its page: so an error names the line that a reader sees. */
export function sourceOf({ blocks }) {
  const lines = [];
  for (const { line, code } of blocks) {
    while (lines.length < line - 1) lines.push('');
    lines.push(...code.split('\n'));
  }
  return `${lines.join('\n')}\n`;
}
