// The page of the public API, from the declarations that the package ships: what its entry exports, with the comments of the sources.

import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ROOT } from './run.mjs';

const DIST = join(ROOT, 'crates', 'driftline-client', 'dist');

/** The entries of the package, and where each is declared. One that was not built is left out. */
const ENTRIES = [
  ['driftline', 'index.d.ts'],
  ['driftline/react', 'react.d.ts'],
  ['driftline/presence', 'presence.d.ts'],
  ['driftline/blobs', 'blobs.d.ts'],
  ['driftline/devtools', 'devtools.d.ts'],
  ['driftline/service-worker', 'service-worker.d.ts'],
];

const INTRODUCTION = `# API

What the npm package exports, as the sources declare and explain it. The guides show it at work, beginning with the
[schema](guide/schema.md).
`;

export async function apiPage() {
  const sections = [];
  const known = new Set();
  for (const [entry, file] of ENTRIES) {
    if (existsSync(join(DIST, file))) sections.push(await section(entry, file, known));
  }
  if (sections.length === 0) throw new Error(`${DIST} holds no declarations; run: npm run build package`);
  return [INTRODUCTION, ...sections].join('\n');
}

/** What an earlier section has described (`known`) is not described again. */
async function section(entry, file, known) {
  const exported = (await exportsOf(file)).filter(({ name }) => !known.has(name));
  for (const { name } of exported) known.add(name);
  const parts = await partsOf(exported, known);
  const isType = ({ code }) => /^export (declare )?(interface|type)\b/.test(code);
  const values = exported.filter((one) => !isType(one));
  const ordered = [...values.sort(openFirst), ...exported.filter(isType).sort(byName)];
  const named = parts.length > 0 ? [`## Types that these name`, ...parts.sort(byName).map(describe)] : [];
  return [`## ${entry}`, ...ordered.map(describe), ...named].join('\n\n');
}

/** Types of the package that its exports name and an app cannot import, such as what a field may say. */
async function partsOf(exported, known) {
  const files = (await readdir(DIST)).filter((name) => name.endsWith('.d.ts') && !name.startsWith('driftline_client'));
  const texts = await Promise.all(files.map((name) => readFile(join(DIST, name), 'utf8')));
  const parts = [];
  for (const { code } of chain(exported, parts)) {
    for (const [word] of code.replace(/\/\*[\s\S]*?\*\//g, '').matchAll(/\b[A-Z]\w+\b/g)) {
      const at = texts.findIndex((text) =>
        new RegExp(`^export (declare )?(interface|type) ${word}\\b`, 'm').test(text),
      );
      if (known.has(word) || at < 0) continue;
      known.add(word);
      parts.push(declarationOf(texts[at], word, files[at]));
    }
  }
  return parts;
}

/** Also what is added to the second list meanwhile. */
function* chain(one, other) {
  yield* one;
  for (let index = 0; index < other.length; index += 1) yield other[index];
}

const openFirst = (a, b) => Number(b.name === 'open') - Number(a.name === 'open') || byName(a, b);
const byName = (a, b) => (a.name < b.name ? -1 : 1);

function describe({ name, comment, code }) {
  const declaration = code.replace(/^export (declare )?/, '');
  return [`### ${name}`, comment, `\`\`\`ts\n${declaration}\n\`\`\``].filter((part) => part !== '').join('\n\n');
}

/** What a file of declarations exports, each `{ name, comment, code }`. */
async function exportsOf(file) {
  const text = await readFile(join(DIST, file), 'utf8');
  const own = [...text.matchAll(/^export (?:declare )?(?:abstract )?(?:class|interface|type|function|const) (\w+)/gm)];
  const found = own.map(([, name]) => declarationOf(text, name, file));
  for (const [, names, source] of text.matchAll(/^export (?:type )?\{([^}]*)\} from '\.\/(.+)\.js';/gm)) {
    const from = `${source}.d.ts`;
    const declarations = await readFile(join(DIST, from), 'utf8');
    for (const name of names.split(',').map((one) => one.replace(/\btype\b/, '').trim())) {
      if (name !== '') found.push(declarationOf(declarations, name, from));
    }
  }
  return found;
}

function declarationOf(text, name, file) {
  const kinds = '(?:class|interface|type|function|const)';
  const begin = text.search(new RegExp(`^export (?:declare )?(?:abstract )?${kinds} ${name}\\b`, 'm'));
  if (begin < 0) throw new Error(`${file} does not declare ${name}`);
  const lines = text.slice(begin, endOf(text, begin)).split('\n');
  const code = lines.filter((line) => !/^ {4}(#private|private )/.test(line)).join('\n');
  return { name, comment: commentBefore(text.slice(0, begin)), code: withoutLinks(code.replaceAll('    ', '  ')) };
}

/** Where a declaration ends: a class or interface with its last brace, another with the semicolon outside of all brackets. */
function endOf(text, begin) {
  const hasBody = /^export (declare )?(abstract )?(class|interface)\b/.test(text.slice(begin, begin + 60));
  let depth = 0;
  for (const { 0: token, index } of text
    .slice(begin)
    .matchAll(/\/\*[\s\S]*?\*\/|\/\/.*|"[^"]*"|'[^']*'|`[^`]*`|[{}()[\];]/g)) {
    if ('{(['.includes(token)) depth += 1;
    else if ('})]'.includes(token)) depth -= 1;
    if (depth === 0 && token === (hasBody ? '}' : ';')) return begin + index + 1;
  }
  throw new Error(`a declaration has no end: ${text.slice(begin, begin + 80)}`);
}

/** The comment above a declaration. One at the very beginning is about the file. */
function commentBefore(text) {
  const found = /\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\s*$/.exec(text);
  const comment = found && found.index > 0 ? found[1] : '';
  const lines = comment.split('\n').map((line) => line.replace(/^\s*\*? ?/, '').trimEnd());
  return withoutLinks(lines.join('\n')).trim();
}

const withoutLinks = (text) => text.replace(/\{@link (\w+)\}/g, '`$1`');
