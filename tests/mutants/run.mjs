// Plants each bug of this directory in a copy of the core and looks whether the simulator finds it.
// `node tests/mutants/run.mjs [--seeds N]`: fails unless every one is found within N seeds.
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const root = join(here, '..', '..')
const work = join(root, 'target', 'mutants')
const option = process.argv.indexOf('--seeds')
const seeds = option > 0 ? Number(process.argv[option + 1]) : 600

function copyWorkspace(to) {
  rmSync(to, { recursive: true, force: true })
  mkdirSync(to, { recursive: true })
  for (const path of ['Cargo.lock', 'rust-toolchain.toml', 'crates/driftline-core', 'tests/sim', 'tests/properties', 'tests/src', 'tests/schemas']) {
    cpSync(join(root, path), join(to, path), { recursive: true })
  }
  // Only the core and the simulator: what else the tests depend on need not be built.
  const manifest = readFileSync(join(root, 'Cargo.toml'), 'utf8')
  const members = manifest.replace(/^members = \[[^\]]*\]/m, 'members = ["crates/driftline-core", "tests"]')
  writeFileSync(join(to, 'Cargo.toml'), members.replace(/^driftline-(server|client) = .*\n/gm, ''))
  const tests = readFileSync(join(root, 'tests', 'Cargo.toml'), 'utf8')
  writeFileSync(join(to, 'tests', 'Cargo.toml'), tests.replace(/^\[dev-dependencies\]\n(?:[^[\n].*\n|\n)*/m, ''))
}

function run(command, args, cwd) {
  const env = { ...process.env, CARGO_TARGET_DIR: join(work, 'target') }
  return spawnSync(command, args, { cwd, env, encoding: 'utf8', maxBuffer: 1 << 28 })
}

let missed = 0
for (const patch of readdirSync(here).filter((name) => name.endsWith('.patch')).sort()) {
  const name = patch.replace('.patch', '')
  const copy = join(work, 'workspace')
  copyWorkspace(copy)
  const applied = run('patch', ['-p1', '--no-backup-if-mismatch', '-i', join(here, patch)], copy)
  if (applied.status !== 0) {
    console.error(`${name}: the patch no longer applies\n${applied.stdout}${applied.stderr}`)
    process.exit(1)
  }
  const built = run('cargo', ['build', '--release', '-q', '-p', 'driftline-tests', '--bin', 'sim'], copy)
  if (built.status !== 0) {
    console.error(`${name}: does not build\n${built.stderr}`)
    process.exit(1)
  }
  const ran = run(join(work, 'target', 'release', 'sim'), ['--seeds', String(seeds)], copy)
  const found = /^failed: (\d+) of \d+: (\d+) (\w+)/m.exec(ran.stdout)
  if (found) {
    console.log(`${name}: found first by seed ${found[2]} (${found[3]}), by ${found[1]} of ${seeds} seeds`)
  } else {
    console.error(`${name}: not found within ${seeds} seeds\n${ran.stdout}${ran.stderr}`)
    missed += 1
  }
}
process.exit(missed ? 1 : 0)
