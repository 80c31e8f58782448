// What is asked of a block, by its language. Each check returns what is wrong, a line each: `page:line: what`.

import { execFile } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { transform } from 'esbuild';
import { ROOT } from '../../scripts/run.mjs';
import { modulesOf, sourceOf } from './blocks.mjs';
import { checkCommands } from './commands.mjs';
import { migrationsOf, schemasOf } from './schemas.mjs';

const CACHE = join(ROOT, 'node_modules', '.cache', 'driftline-docs');
const TSC = join(ROOT, 'node_modules', '.bin', 'tsc');
const execute = promisify(execFile);

const COMPILER_OPTIONS = {
  target: 'es2022',
  lib: ['es2023', 'dom', 'dom.iterable'],
  module: 'esnext',
  moduleResolution: 'bundler',
  jsx: 'react-jsx',
  types: ['node'],
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  skipLibCheck: true,
  noEmit: true,
};

export const CHECKS = {
  ts: async (blocks) => [...(await checkTypes(blocks, 'ts')), ...(await checkSchemas(blocks, 'ts'))],
  tsx: async (blocks) => [...(await checkTypes(blocks, 'tsx')), ...(await checkSchemas(blocks, 'tsx'))],
  js: checkSyntax,
  jsx: checkSyntax,
  json: checkJson,
  sh: checkCommands,
  sql: checkSql,
  /** These are written to files by the test that follows their page. */
  html: async (blocks) => blocks.filter(({ name }) => !name).map((block) => `${at(block)}: a page needs a name`),
  text: async () => [],
};

/** What is wrong with these blocks; those of a language that nobody checks are wrong, too. */
export async function check(blocks) {
  const unknown = blocks.filter(({ language }) => !Object.hasOwn(CHECKS, language));
  const problems = unknown.map((block) => `${at(block)}: nobody checks blocks of \`${block.language}\``);
  for (const [language, checkAll] of Object.entries(CHECKS)) {
    const own = blocks.filter((block) => block.language === language);
    if (own.length > 0) problems.push(...(await checkAll(own, blocks)));
  }
  return problems;
}

export const at = ({ page, line }) => `${page}:${line}`;

/** A run of the compiler over all modules at once, each a file at a place that says where it comes from. */
async function checkTypes(blocks, language) {
  const folder = join(CACHE, `types-${process.pid}`);
  const pages = new Map();
  for (const module of modulesOf(blocks, language)) {
    const file = join(module.page.replace(/\.md$/, ''), module.name ?? `line-${module.line}.${language}`);
    pages.set(file, module.page);
    await mkdir(dirname(join(folder, file)), { recursive: true });
    // Without an import or export of its own it would share its names with the others.
    await writeFile(join(folder, file), `${sourceOf(module)}export {};\n`);
  }
  const config = { compilerOptions: COMPILER_OPTIONS, files: [...pages.keys()] };
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(config));
  const output = await execute(TSC, ['-p', folder, '--pretty', 'false'], { cwd: folder }).then(
    () => '',
    (error) => error.stdout,
  );
  await rm(folder, { recursive: true });
  // A message goes on in lines that are indented.
  const messages = output
    .trim()
    .split(/\n(?! )/)
    .filter((message) => message !== '');
  return messages.map((message) => {
    const [, file, line, what] = /^(\S+)\((\d+),\d+\): ([\s\S]*)$/.exec(message) ?? [];
    return pages.has(file) ? `${pages.get(file)}:${line}: ${what}` : message;
  });
}

/** Each schema that a module defines is one for which the server plans tables. */
async function checkSchemas(blocks, language) {
  const problems = [];
  for (const module of modulesOf(blocks, language)) {
    for (const schema of await schemasOf(module)) {
      await migrationsOf(schema).catch((error) => problems.push(`${at(module)}: ${error.stderr ?? error.message}`));
    }
  }
  return problems;
}

async function checkSyntax(blocks) {
  const problems = await Promise.all(
    blocks.map((block) =>
      transform(block.code, { loader: block.language, format: 'esm', logLevel: 'silent' }).then(
        () => [],
        (error) => error.errors.map(({ text, location }) => `${block.page}:${block.line + location.line - 1}: ${text}`),
      ),
    ),
  );
  return problems.flat();
}

/** `{…}` and `[…]` stand for something that the page leaves out. For a `schema.json` the server plans tables. */
async function checkJson(blocks) {
  const problems = [];
  for (const block of blocks) {
    try {
      const value = JSON.parse(block.code.replaceAll('{…}', '{}').replaceAll('[…]', '[]'));
      if (block.name === 'schema.json') await migrationsOf(value);
    } catch (error) {
      problems.push(`${at(block)}: ${error.stderr ?? error.message}`);
    }
  }
  return problems;
}

/** A query has to hold for the tables that the schema of its page makes. */
async function checkSql(blocks, all) {
  const problems = [];
  for (const block of blocks) {
    const modules = modulesOf(all, 'ts').filter(({ page }) => page === block.page);
    const schemas = [];
    for (const module of modules) schemas.push(...(await schemasOf(module)));
    const [schema] = schemas;
    if (!schema) {
      problems.push(`${at(block)}: its page defines no schema`);
      continue;
    }
    const { data } = await migrationsOf(schema);
    await execute('sqlite3', ['-bail', join(data, 'driftline.db'), `EXPLAIN ${block.code}`]).catch((error) =>
      problems.push(`${at(block)}: ${error.stderr}`),
    );
  }
  return problems;
}
