// Writes down what the npm package offers, as its built declarations say it, so that a change of it is seen in review:
//
//   node scripts/api-report.mjs            writes docs/api/driftline.api.md
//   node scripts/api-report.mjs --check    fails, and shows the difference, where that file says something else
//
// It reads the text of the declarations, which TypeScript has written in one style: the compiler's own API is no part of it any more.

import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { ROOT, runAsCommand } from './run.mjs';

export const PACKAGE_DIR = join(ROOT, 'crates', 'driftline-client');
export const REPORT = join(ROOT, 'docs', 'api', 'driftline.api.md');

const INTRODUCTION = `Written by \`node scripts/api-report.mjs\` from the declarations that the package ships, and held against them by a test. What
changes here changes for apps.`;

/** The report on a built package, as Markdown. */
export async function describePackage(folder) {
  const { name, exports } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'));
  const entries = Object.entries(exports).map(([path, target]) => [name + path.slice(1), target]);
  const parts = [`# The API of \`${name}\``, INTRODUCTION];
  const files = [];
  const known = { exported: new Map(), named: new Map() };
  for (const [entry, target] of entries.sort(byName)) {
    const types = typesOf(target);
    if (types === undefined) files.push(`- \`${entry}\``);
    else parts.push(`## \`${entry}\``, ...(await describeEntry(entry, join(folder, types), known)));
  }
  if (files.length > 0) parts.push('## Files', files.join('\n'));
  return `${parts.join('\n\n')}\n`;
}

/** Fails where a report is not what the package is now, and shows in which lines. */
export async function checkReport(folder = PACKAGE_DIR, report = REPORT) {
  const now = await describePackage(folder);
  const noted = existsSync(report) ? await readFile(report, 'utf8') : '';
  if (now === noted) return;
  const where = relative(ROOT, report);
  throw new Error(
    `the API differs from ${where}:\n${difference(noted, now)}\nif it is meant to: node scripts/api-report.mjs`,
  );
}

/** The declarations of an entry: what stands under `types`, be it within another condition. */
function typesOf(target) {
  if (typeof target !== 'object' || target === null) return undefined;
  const within = Object.values(target).map(typesOf);
  return target.types ?? within.find((types) => types !== undefined);
}

// ---- One entry ----

/**
 * What an entry exports, and what these name without its being exported: both are what an app's code is compiled against. Nothing that
 * stands under an earlier entry, as `known` says, is written again.
 */
async function describeEntry(entry, file, known) {
  const modules = new Map();
  const exported = [...(await exportsOf(file, modules))].map(([as, found]) => ({ ...found, as }));
  const [again, fresh] = [true, false].map((is) => exported.filter((found) => known.exported.has(keyOf(found)) === is));
  for (const found of fresh) known.exported.set(keyOf(found), entry);
  const named = [];
  let wave = fresh;
  while (wave.length > 0) {
    const next = (await Promise.all(wave.map((found) => namedBy(found, modules)))).flat();
    wave = unique(next).filter((found) => !known.exported.has(keyOf(found)) && !known.named.has(keyOf(found)));
    for (const found of wave) known.named.set(keyOf(found), entry);
    named.push(...wave);
  }
  const parts = [];
  if (fresh.length > 0) parts.push(await block(fresh, modules));
  if (named.length > 0) parts.push('Named by these, and not exported:', await block(named, modules));
  const lines = again.map((found) => [found.as, `- \`${found.as}\`, as in \`${known.exported.get(keyOf(found))}\``]);
  if (lines.length > 0) parts.push(['Also:\n', ...lines.sort(byName).map(([, line]) => line)].join('\n'));
  return parts;
}

const unique = (list) => [...new Map(list.map((found) => [keyOf(found), found])).values()];

const keyOf = ({ file, name }) => `${name} ${file}`;

async function block(list, modules) {
  const sorted = list.map((found) => [found.as ?? found.name, found]).sort(byName);
  const texts = sorted.map(async ([, { file, name, as = name, isType }]) => {
    const { declarations } = await moduleOf(file, modules);
    const text = declarations.get(name).join('\n');
    const notes = [as !== name && `// As \`${as}\`.`, isType && text.includes('class ') && '// Only its type.'];
    return [...notes.filter(Boolean), text].join('\n');
  });
  return `\`\`\`ts\n${(await Promise.all(texts)).join('\n\n')}\n\`\`\``;
}

/** The names that a module exports, each with where it is declared. */
async function exportsOf(file, modules) {
  const { exports, stars } = await moduleOf(file, modules);
  const found = new Map();
  for (const star of stars) for (const [name, one] of await exportsOf(star, modules)) found.set(name, one);
  for (const [name, { from, local, isType }] of exports) {
    const one = await declared(from, local, modules);
    found.set(name, { ...one, isType: isType || one.isType });
  }
  return found;
}

/** Follows a name to the module that declares it. */
async function declared(file, name, modules) {
  const { declarations, imports } = await moduleOf(file, modules);
  if (declarations.has(name)) return { file, name };
  const imported = imports.get(name);
  if (imported !== undefined) return declared(imported.from, imported.name, modules);
  const exported = (await exportsOf(file, modules)).get(name);
  if (exported === undefined) throw new Error(`${file} declares no ${name}`);
  return exported;
}

async function namedBy({ file, name }, modules) {
  const { declarations, imports } = await moduleOf(file, modules);
  const words = new Set(
    declarations
      .get(name)
      .join('\n')
      .replaceAll(/'[^']*'/g, '')
      .match(/(?<![.\w$])[A-Z][\w$]*/g),
  );
  const known = [...words].filter((word) => word !== name && (declarations.has(word) || imports.has(word)));
  return Promise.all(known.map((word) => declared(file, word, modules)));
}

// ---- One file of declarations ----

function moduleOf(file, modules) {
  if (!modules.has(file)) modules.set(file, readModule(file));
  return modules.get(file);
}

async function readModule(file) {
  const module = { declarations: new Map(), imports: new Map(), exports: new Map(), stars: [] };
  const text = await readFile(file, 'utf8').catch(() => {
    throw new Error(`${relative(ROOT, file)} is missing: run \`npm run build\``);
  });
  for (const statement of statements(withoutComments(text))) take(statement, file, module);
  return module;
}

function take(statement, file, module) {
  const path = statement.match(/from '(\.[^']*)';$/)?.[1];
  const from = path === undefined ? file : join(dirname(file), path.replace(/\.js$/, '.d.ts'));
  if (/^export (type )?[{*]/.test(statement)) {
    if (statement.startsWith('export *')) module.stars.push(from);
    for (const [local, name, isType] of listed(statement)) module.exports.set(name, { from, local, isType });
  } else if (/^export default [\w$]+;$/.test(statement)) {
    module.exports.set('default', { from: file, local: statement.slice('export default '.length, -1) });
  } else if (statement.startsWith('import')) {
    // Another package's types are that package's to describe.
    for (const [name, local] of path === undefined ? [] : listed(statement)) module.imports.set(local, { from, name });
  } else {
    declare(statement, file, module);
  }
}

function declare(statement, file, { declarations, exports }) {
  const parsed = statement.match(/^(export )?(default )?(?:declare )?((?:abstract )?(?:async )?\w+ ([\w$]+)[\s\S]*)$/);
  if (parsed === null) throw new Error(`${file} holds what this script does not read: ${statement}`);
  const [, isExported, isDefault, text, name] = parsed;
  // What only the class itself sees is left out; a comment that has gone from within a union has left the end of its line.
  const shown = text.replaceAll(/\n\s*#private;/g, '').replaceAll(/\n \| /g, ' | ');
  declarations.set(name, [...(declarations.get(name) ?? []), shown]);
  if (isExported) exports.set(isDefault ? 'default' : name, { from: file, local: name });
}

/** Of `{ a, type B as C }`: `[a, a, false]` and `[B, C, true]`. */
function listed(statement) {
  const names = statement.match(/\{([^}]*)\}/)?.[1].matchAll(/(type )?([\w$]+)(?: as ([\w$]+))?/g) ?? [];
  const areTypes = /^\w+ type /.test(statement);
  return [...names].map(([, type, name, as = name]) => [name, as, areTypes || type !== undefined]);
}

function withoutComments(text) {
  const parts = text.split(/('[^'\n]*'|"[^"\n]*"|`[^`]*`|\/\*[\s\S]*?\*\/|\/\/[^\n]*)/);
  const kept = parts.map((part) => (/^\/[*/]/.test(part) ? '' : part)).join('');
  return kept.replaceAll(/[ \t]+$/gm, '').replaceAll(/\n{2,}/g, '\n');
}

/** The statements of a file: each ends with a semicolon outside all brackets, or a body with its bracket. */
function statements(text) {
  const found = [];
  let [depth, start] = [0, 0];
  for (const { 0: sign, index } of text.matchAll(/'[^'\n]*'|"[^"\n]*"|`[^`]*`|[{}()[\];]/g)) {
    if ('{(['.includes(sign)) depth += 1;
    if ('})]'.includes(sign)) depth -= 1;
    const statement = text.slice(start, index + 1).trim();
    const isBody =
      sign === '}' &&
      /^(export )?(default )?(declare )?(abstract )?(class|interface|enum|namespace|module|global) /.test(statement);
    if (depth > 0 || (sign !== ';' && !isBody)) continue;
    found.push(statement);
    start = index + 1;
  }
  return found;
}

// ---- Small parts ----

/** Lines that are gone and lines that are new, in order, each below the last line that both have. */
function difference(before, after) {
  const [old, now] = [before.split('\n'), after.split('\n')];
  const lengths = [...old, ''].map(() => new Uint32Array(now.length + 1));
  for (let i = old.length - 1; i >= 0; i -= 1) {
    for (let j = now.length - 1; j >= 0; j -= 1) {
      lengths[i][j] = old[i] === now[j] ? lengths[i + 1][j + 1] + 1 : Math.max(lengths[i + 1][j], lengths[i][j + 1]);
    }
  }
  const lines = [];
  let [i, j] = [0, 0];
  while (i < old.length || j < now.length) {
    if (i < old.length && j < now.length && old[i] === now[j]) [i, j] = [i + 1, j + 1];
    else if (j === now.length || (i < old.length && lengths[i + 1][j] >= lengths[i][j + 1]))
      lines.push(`- ${old[i++]}`);
    else lines.push(`+ ${now[j++]}`);
  }
  return lines.join('\n');
}

function byName([a], [b]) {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

await runAsCommand(import.meta.url, async ([option]) => {
  if (option === '--check') return checkReport();
  await mkdir(dirname(REPORT), { recursive: true });
  await writeFile(REPORT, await describePackage(PACKAGE_DIR));
  console.log(`wrote ${relative(ROOT, REPORT)}`);
});
