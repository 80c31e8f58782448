// `npm run fuzz [-- --seconds 60] [--target NAME]`: libFuzzer makes up what comes from outside, for so long for each target of fuzz/.
//
// A run goes on from what earlier ones found worth keeping, in target/fuzz/corpus. What a target fails on stays in fuzz/artifacts,
// and the exit code is 1: a found input becomes a named test. What needs a nightly Rust is this command alone.

import { spawn, spawnSync } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { capture, ROOT, run, runAsCommand, say, TARGET_DIR, timed } from './run.mjs';

const TARGETS = ['wire', 'schema', 'token', 'cursor'];
const FUZZ_DIR = join(ROOT, 'fuzz');
const WORK_DIR = join(TARGET_DIR, 'fuzz');
/** A reader that takes more of memory than this, or of time, for a few kilobytes is as wrong as one that panics. */
const RSS_LIMIT_MB = 512;
const INPUT_TIMEOUT_SECONDS = 20;
/** What is kept of a fuzzer's output: its figures come last. */
const OUTPUT_CHARS = 64 * 1024;

await runAsCommand(import.meta.url, async (args) => {
  const { seconds, targets } = options(args);
  await install();
  const results = [];
  for (const target of targets) results.push(await timed(`fuzzing ${target}`, () => fuzz(target, seconds)));
  for (const result of results) say(summary(result));
  const failed = results.filter(({ code }) => code !== 0).map(({ target }) => target);
  if (failed.length > 0) throw new Error(`fuzzing failed: ${failed.join(', ')}`);
});

function options(args) {
  const { values } = parseArgs({
    args,
    options: { seconds: { type: 'string', default: '60' }, target: { type: 'string' } },
  });
  const seconds = Number(values.seconds);
  if (!Number.isInteger(seconds) || seconds < 1) throw new Error('--seconds takes a whole number from 1 up');
  if (values.target !== undefined && !TARGETS.includes(values.target)) {
    throw new Error(`--target is one of ${TARGETS.join(', ')}`);
  }
  return { seconds, targets: values.target === undefined ? TARGETS : [values.target] };
}

/** Nightly Rust, whose coverage the fuzzer goes by, and cargo-fuzz, which builds with it. */
async function install() {
  const toolchains = (await capture('rustup', ['toolchain', 'list'])).split('\n');
  if (!toolchains.some((line) => line.startsWith('nightly'))) {
    await timed('installing nightly Rust', () =>
      run('rustup', ['toolchain', 'install', 'nightly', '--profile', 'minimal']),
    );
  }
  if (spawnSync('cargo', ['fuzz', '--version'], { cwd: ROOT, stdio: 'ignore' }).status === 0) return;
  await timed('installing cargo-fuzz (a few minutes, once)', () =>
    run('cargo', ['install', '--quiet', 'cargo-fuzz', '--locked']),
  );
}

// Without a sanitizer: there is no unsafe code of our own to sanitize, panics are what is looked for, and the memory that is counted is
// the code's and not the sanitizer's.
async function fuzz(target, seconds) {
  const corpus = join(WORK_DIR, 'corpus', target);
  await mkdir(corpus, { recursive: true });
  const places = [corpus, join(FUZZ_DIR, 'seeds', target)];
  const limits = [
    `-max_total_time=${seconds}`,
    `-rss_limit_mb=${RSS_LIMIT_MB}`,
    `-timeout=${INPUT_TIMEOUT_SECONDS}`,
    `-dict=${join(FUZZ_DIR, 'words.dict')}`,
    '-print_final_stats=1',
  ];
  const args = ['+nightly', 'fuzz', 'run', '--fuzz-dir', FUZZ_DIR, '--sanitizer', 'none', target, ...places, '--'];
  return { target, ...(await watched('cargo', [...args, ...limits])) };
}

/** Runs a program with its output on this terminal, and returns how it ended and the end of what it said. */
function watched(command, args) {
  const env = { ...process.env, CARGO_TARGET_DIR: WORK_DIR };
  const child = spawn(command, args, { cwd: ROOT, env, stdio: ['ignore', 'inherit', 'pipe'] });
  let said = '';
  child.stderr.on('data', (chunk) => {
    process.stderr.write(chunk);
    said = (said + chunk).slice(-OUTPUT_CHARS);
  });
  return new Promise((done, failed) => {
    child.once('error', failed);
    child.once('close', (code) => done({ code, said }));
  });
}

function summary({ target, code, said }) {
  const last = (pattern) => [...said.matchAll(pattern)].at(-1)?.[1];
  const inputs = last(/stat::number_of_executed_units:\s+(\d+)/g);
  if (code !== 0) {
    const input = last(/Test unit written to (\S+)/g);
    return `${target}: FAILED ${input === undefined ? 'before it began; see above' : `on ${input}`}`;
  }
  const [edges, peakMb] = [last(/ cov: (\d+)/g), last(/stat::peak_rss_mb:\s+(\d+)/g)];
  return `${target}: ${inputs} inputs, ${edges} edges covered, at most ${peakMb} MB, nothing found`;
}
