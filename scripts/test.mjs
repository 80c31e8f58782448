// `npm test`: installs what is missing, then runs every check and test in turn and stops at the first that fails.
// `node scripts/test.mjs PART` runs one part. `npm run test:browser -- --browser firefox` runs what is to be the same in every engine
// in that one alone. What else follows `browser` goes to node's test runner, so that
// `npm run test:browser -- --test-name-pattern=kill` runs the tests with that in their names.

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from './build.mjs';
import { checkPackage } from './check-package.mjs';
import { ROOT, run, runAsCommand, runNpmBinary, say } from './run.mjs';
import { cargoDeny, setup, wasmBindgenDir } from './setup.mjs';
import { checkSpec } from './spec.mjs';

const BROWSER_TESTS_DIR = join(ROOT, 'tests', 'browser');
const WASM_TARGET = ['--target', 'wasm32-unknown-unknown'];
const WITH_POSTGRES = ['-p', 'driftline-server', '--features', 'postgres,webhooks'];
const WITH_ALL = ['-p', 'driftline-server', '--all-features'];
const WITH_MORE = ['--features', 'driftline-server/jwks,driftline-server/telemetry,driftline-server/webhooks'];
const DENY_WARNINGS = ['--', '-D', 'warnings'];

/** What `setup` must have installed before a part can run. */
const NEEDS = {
  lint: ['wasm', 'deny'],
  rust: ['postgres'],
  wasm: ['wasm', 'browser'],
  properties: [],
  sim: [],
  package: ['wasm'],
  protocol: ['wasm', 'browser'],
  docs: ['wasm', 'browser'],
  bundlers: ['wasm', 'browser'],
  browser: ['wasm', 'browser', 'engines'],
};

/** Cheap checks first, so that a slip is told within seconds; the browser tests, which need all the builds, last. */
const STEPS = [
  { part: 'lint', name: 'rules and their tests', run: checkSpec },
  { part: 'lint', name: 'Rust formatting', run: () => run('cargo', ['fmt', '--all', '--check']) },
  {
    part: 'lint',
    name: 'JavaScript and TypeScript lint',
    run: () => runNpmBinary('biome', ['check', '--error-on-warnings']),
  },
  {
    part: 'lint',
    name: 'Rust lint',
    run: () => run('cargo', ['clippy', '--workspace', '--all-targets', ...DENY_WARNINGS]),
  },
  {
    part: 'lint',
    name: 'Rust lint, as wasm',
    run: () => run('cargo', ['clippy', ...WASM_TARGET, '-p', 'driftline-client', '--all-targets', ...DENY_WARNINGS]),
  },
  {
    part: 'lint',
    name: 'Rust lint, with all that is optional',
    run: () => run('cargo', ['clippy', ...WITH_ALL, '--all-targets', ...DENY_WARNINGS]),
  },
  { part: 'lint', name: 'licences, bans and sources of crates', run: checkCrates },
  { part: 'rust', name: 'Rust tests', run: () => run('cargo', ['test', '--workspace', ...WITH_MORE]) },
  {
    part: 'rust',
    name: 'the server on PostgreSQL',
    run: () => run('cargo', ['test', ...WITH_POSTGRES, '--lib', '--test', 'postgres']),
  },
  { part: 'wasm', name: 'wasm tests', run: testWasm },
  { part: 'properties', name: 'properties of random histories', run: testProperties },
  { part: 'sim', name: 'simulator', run: () => run('npm', ['run', '--silent', 'sim', '--', '--seeds', '2000']) },
  {
    part: 'sim',
    name: 'planted bugs are found',
    run: () => run('node', ['tests/mutants/run.mjs']),
  },
  { part: 'package', name: 'build, within the size budget', run: () => build() },
  { part: 'package', name: 'sizes', run: () => run('node', ['scripts/size.mjs']) },
  { part: 'package', name: 'the default server', run: () => run('node', ['scripts/server-size.mjs']) },
  { part: 'package', name: 'types and unit tests of the package', run: () => testWorkspace('crates/driftline-client') },
  { part: 'package', name: 'types and unit tests of the app', run: () => testWorkspace('www') },
  { part: 'package', name: 'the package as published', run: checkPackage },
  { part: 'protocol', name: 'the protocol: vectors, a second server, OpenAPI', run: () => testFolder('conformance') },
  { part: 'docs', name: 'the code on the pages', run: () => testFolder('docs') },
  { part: 'bundlers', name: 'the package in bundlers', run: () => testFolder('package') },
  { part: 'browser', name: 'judges of the scripted hour', run: () => testFolder('hour') },
  { part: 'browser', name: 'types of the examples', run: checkExamples },
  { part: 'browser', name: 'browser tests', run: testBrowsers },
  {
    part: 'browser',
    name: 'the first minutes of an hour of two people',
    run: () => run('node', ['tests/hour/hour.mjs', '--minutes', '4', '--seed', '3']),
  },
];

async function checkCrates() {
  const program = await cargoDeny();
  await run(program, ['--log-level', 'error', 'check', 'licenses', 'bans', 'sources']);
}

// Documentation examples run natively only: the wasm runner takes test binaries.
async function testWasm() {
  const runner = join(await wasmBindgenDir(), 'wasm-bindgen-test-runner');
  const env = { CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER: runner, CHROMEDRIVER: '/usr/bin/chromedriver' };
  await run('cargo', ['test', ...WASM_TARGET, '-p', 'driftline-core', '-p', 'driftline-client', '--tests'], { env });
}

// Each family counts the situations that it is about, and fails where a full run met one too seldom.
async function testProperties() {
  await run('npm', ['run', '--silent', 'properties', '--', '--histories', '10000']);
}

// Strictness is asked for here as well, so that no workspace's settings can quietly drop it.
async function testWorkspace(folder) {
  await runNpmBinary('tsc', ['--noEmit', '--strict', '-p', folder]);
  await run('npm', ['run', '--silent', 'test:unit', '-w', folder]);
}

// One file at a time: they share a browser's memory, and folders in which apps are built.
async function testFolder(name) {
  await build(['package', 'server']);
  const folder = join('tests', name);
  const files = (await readdir(join(ROOT, folder))).filter((file) => file.endsWith('.test.mjs')).sort();
  const paths = files.map((file) => join(folder, file));
  await run('node', ['--test', '--test-reporter=spec', '--test-concurrency=1', ...paths]);
}

// The examples have a lock file of their own: nobody needs their packages but they.
async function checkExamples() {
  const cwd = join(ROOT, 'examples');
  await build(['package']);
  await run('npm', ['ci', '--ignore-scripts', '--loglevel=error'], { cwd });
  await run('npm', ['run', '--silent', 'check'], { cwd });
}

// One file at a time: the tests kill browsers and servers, and share two cores with them.
async function testBrowsers(args) {
  await build();
  const [engine, rest] = args[0] === '--browser' ? [args[1] ?? '', args.slice(2)] : [undefined, args];
  const all = (await readdir(BROWSER_TESTS_DIR)).filter((name) => name.endsWith('.test.mjs')).sort();
  const files = engine === undefined ? all : all.filter((name) => name === 'engines.test.mjs');
  if (files.length === 0) throw new Error(`${BROWSER_TESTS_DIR} does not hold the tests`);
  const paths = files.map((name) => join('tests', 'browser', name));
  const env = engine === undefined ? {} : { DRIFTLINE_BROWSER: engine };
  await run('node', ['--test', '--test-reporter=spec', '--test-concurrency=1', ...rest, ...paths], { env });
}

async function test([part, ...args]) {
  const parts = part === undefined ? Object.keys(NEEDS) : [part];
  const steps = STEPS.filter((step) => parts.includes(step.part));
  if (steps.length === 0) throw new Error(`test knows ${Object.keys(NEEDS).join(', ')}; not ${part}`);
  const needs = [...new Set(parts.flatMap((name) => NEEDS[name]))];
  steps.unshift({ name: 'what the tests need is installed', run: () => setup(needs) });

  let passed = 0;
  let failure;
  for (const step of steps) {
    console.log(`\n=== ${step.name}`);
    const began = Date.now();
    failure = await step.run(args).then(
      () => undefined,
      (error) => error,
    );
    say(`${step.name}: ${failure ? 'FAILED' : 'passed'} after ${((Date.now() - began) / 1000).toFixed(1)} s`);
    if (failure) break;
    passed += 1;
  }
  if (failure) {
    console.error(`\n${failure.message}`);
    process.exitCode = 1;
  }
  // The last line, alone on it: what reads this command's output looks for it.
  console.log(`\n${passed} passed, ${failure ? 1 : 0} failed`);
}

await runAsCommand(import.meta.url, test);
