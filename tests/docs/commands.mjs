// Whether the commands on the pages exist: programs, their subcommands and options, npm scripts, crates and features.

import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'smol-toml';
import { ROOT } from '../../scripts/run.mjs';
import { runDriftline } from '../browser/harness.mjs';

const APPS_DIR = join(ROOT, 'tests', 'package', 'apps');
const COMMANDS_DIR = join(ROOT, 'crates', 'driftline-server', 'src', 'cmd');

/** Programs of which nothing is to be checked here. */
const OTHERS = ['mkdir', 'cd', 'cp', 'mv', 'rm', 'cat', 'grep', 'sqlite3', 'curl'];
const OF_NPM = ['ci', 'install', 'init', 'pkg'];

const PROGRAMS = { driftline: checkDriftline, npm: checkNpm, npx: checkNpx, cargo: checkCargo, node: checkNode };

/** What is wrong with the commands of these blocks. */
export async function checkCommands(blocks) {
  const problems = [];
  for (const block of blocks) {
    for (const { line, words } of commandsOf(block.code)) {
      const problem = await checkCommand(words);
      if (problem) problems.push(`${block.page}:${block.line + line}: ${problem}`);
    }
  }
  return problems;
}

/** What is wrong with the commands that stand in a page's sentences. There they may be cut short, or have an ellipsis. */
export async function checkSentences({ path, text }) {
  const problems = [];
  for (const [index, line] of text.split('\n').entries()) {
    for (const [, span] of line.matchAll(/`((?:driftline|npm run|npx|node) [^`]+)`/g)) {
      const [words] = commandsOf(span).map((command) => command.words);
      const problem = await checkCommand(words.filter((word) => word !== '…'));
      if (problem) problems.push(`${path}:${index + 1}: ${problem}`);
    }
  }
  return problems;
}

/** The commands of a script with the line each stands on, counted from 0. Comments and redirections are left out. */
export function commandsOf(script) {
  return script.split('\n').flatMap((text, line) => {
    const words = text.match(/"[^"]*"|'[^']*'|[^\s"']+/g) ?? [];
    const comment = words.findIndex((word) => word.startsWith('#'));
    const commands = [[]];
    for (const word of comment < 0 ? words : words.slice(0, comment)) {
      if (['&&', '|', ';'].includes(word)) commands.push([]);
      else commands.at(-1).push(word.replace(/^["']|["']$/g, ''));
    }
    return commands
      .map(withoutRedirection)
      .flatMap((command) => (command.length > 0 ? [{ line, words: command }] : []));
  });
}

function withoutRedirection(words) {
  const end = words.indexOf('>');
  return end < 0 ? words : words.slice(0, end);
}

async function checkCommand([program, ...args]) {
  if (OTHERS.includes(program)) return;
  if (!Object.hasOwn(PROGRAMS, program)) return `nobody checks the program \`${program}\``;
  return await PROGRAMS[program](args);
}

async function checkDriftline(args) {
  if (args[0].startsWith('-')) return;
  const path = [];
  let help = await helpOf(path);
  for (const word of args) {
    const isCommand = path.length === 0 || (path[0] === 'migrate' && path.length === 1);
    if (!isCommand || word.startsWith('-')) break;
    if (!new RegExp(`^  ${word} `, 'm').test(help)) return await checkOptional(word, path);
    path.push(word);
    help = await helpOf(path);
  }
  for (const option of args.filter((word) => word.startsWith('--'))) {
    if (!help.includes(`${option} `) && !help.includes(`${option}\n`) && !(await optionalNames()).has(option.slice(2)))
      return `\`driftline ${path.join(' ')}\` has no ${option}`;
  }
}

/** A command that only a build with a feature has. */
async function checkOptional(word, path) {
  if (path.length === 0 && existsSync(join(COMMANDS_DIR, `${word}.rs`))) return;
  return `\`driftline ${path.join(' ')}\` has no command ${word}`;
}

const helps = new Map();
async function helpOf(path) {
  const key = path.join(' ');
  if (!helps.has(key)) helps.set(key, await runDriftline([...path, '--help']));
  return helps.get(key);
}

/** The options that the sources name behind a feature, which this binary may lack. */
let optional;
async function optionalNames() {
  if (optional) return optional;
  const files = (await readdir(COMMANDS_DIR)).map((name) => readFile(join(COMMANDS_DIR, name), 'utf8'));
  const sources = (await Promise.all(files)).join('\n');
  const structs = [...sources.matchAll(/#\[cfg\(feature = "\w+"\)\]\n#\[derive\(Args\)\]\nstruct \w+ \{([^}]*)\}/g)];
  const fields = structs.flatMap(([, body]) => [...body.matchAll(/^ {4}(?:pub )?(\w+):/gm)]);
  optional = new Set(fields.map(([, name]) => name.replaceAll('_', '-')));
  return optional;
}

async function checkNpm(args) {
  const at = args.indexOf('--prefix');
  const folder = at < 0 ? '.' : args[at + 1];
  const [verb, script] = at < 0 ? args : args.toSpliced(at, 2);
  if (OF_NPM.includes(verb)) return;
  const name = verb === 'run' ? script : verb;
  const file = join(folder, 'package.json');
  if (!existsSync(join(ROOT, file))) return `there is no ${file}`;
  const { scripts } = JSON.parse(await readFile(join(ROOT, file), 'utf8'));
  if (!Object.hasOwn(scripts, name)) return `${file} has no script \`${name}\``;
}

/** Programs of this repository, of the package itself, and of the bundlers in which it is tried. */
async function checkNpx([name]) {
  if (existsSync(join(ROOT, 'node_modules', '.bin', name)) || existsSync(join(APPS_DIR, name))) return;
  const { bin } = JSON.parse(await readFile(join(ROOT, 'crates', 'driftline-client', 'package.json'), 'utf8'));
  if (!Object.hasOwn(bin, name)) return `no package here brings \`${name}\``;
}

async function checkCargo(args) {
  const after = (option) => args[args.indexOf(option) + 1];
  const folder = args.includes('--path') ? after('--path') : args.includes('-p') ? `crates/${after('-p')}` : undefined;
  if (folder === undefined) return `which crate is \`cargo ${args.join(' ')}\` about`;
  const file = join(ROOT, folder, 'Cargo.toml');
  if (!existsSync(file)) return `there is no ${folder}`;
  if (!args.includes('--features')) return;
  const { features = {} } = parse(await readFile(file, 'utf8'));
  const unknown = after('--features')
    .split(',')
    .filter((name) => !Object.hasOwn(features, name));
  if (unknown.length > 0) return `${folder} has no feature ${unknown.join(', ')}`;
}

/** What a page has the reader build is in `build`. */
function checkNode(args) {
  const file = args.find((word) => !word.startsWith('-'));
  if (args[0] === '-e' || file.startsWith('build/')) return;
  if (!existsSync(join(ROOT, file))) return `there is no ${file}`;
}
