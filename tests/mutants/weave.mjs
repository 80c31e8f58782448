// Many mutants in one build: in a copy of the workspace, each function that mutants change holds all its versions, and the
// environment says which one is alive. A build takes minutes and a run takes seconds, so one build must do for all of them.
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..')
export const WORK = join(ROOT, 'target', 'mutants')
const CORE = 'crates/driftline-core'
const COPY = join(WORK, 'workspace')
const TARGET = join(WORK, 'target')

/** What a mutant may take of memory: one that pushes for ever shall not take the machine with it. */
const MEMORY_KB = 4_000_000

const CHOICE = `
/// Which version of the functions is alive; 0 is the product's.
pub fn planted() -> u32 {
    static PLANTED: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    *PLANTED.get_or_init(|| std::env::var("PLANTED").ok().and_then(|id| id.parse().ok()).unwrap_or(0))
}

pub fn boxed<'a, T>(all: impl Iterator<Item = T> + 'a) -> Box<dyn Iterator<Item = T> + 'a> {
    Box::new(all)
}
`

/** The functions of formatted source: the lines between which each body stands. */
function bodiesOf(lines) {
  const bodies = []
  for (let at = 0; at < lines.length; at += 1) {
    const indent = /^( *)(?:pub(?:\([a-z]+\))? )?fn \w/.exec(lines[at])?.[1]
    if (indent === undefined || /[;}]$/.test(lines[at])) continue
    const begins = (line) => line.endsWith('{') && /^[){pf]/.test(line.slice(indent.length))
    const first = lines.findIndex((line, n) => n >= at && begins(line)) + 1
    const end = lines.findIndex((line, n) => n >= first && line === `${indent}}`)
    bodies.push({ at, first, end })
    at = end
  }
  return bodies
}

/** The lines around the bodies, and the bodies. */
function split(text) {
  const lines = text.split('\n')
  const bodies = bodiesOf(lines)
  const inside = new Set(bodies.flatMap(({ first, end }) => Array.from({ length: end - first }, (_, i) => first + i)))
  return {
    lines,
    bodies,
    around: lines.filter((_, n) => !inside.has(n)).join('\n'),
    texts: bodies.map(({ first, end }) => lines.slice(first, end)),
  }
}

/** `source` with all `versions` of it (`{ id, text }`), and the mutant of which each of its lines is, if of any. */
function weave(file, source, versions) {
  const own = split(source)
  const arms = own.bodies.map(() => [])
  for (const { id, text } of versions) {
    const other = split(text)
    if (other.around !== own.around) throw new Error(`${file}: mutant ${id} changes more than the insides of functions`)
    other.texts.forEach((body, n) => {
      if (body.join('\n') !== own.texts[n].join('\n')) arms[n].push({ id, body })
    })
  }
  const out = []
  const owners = []
  const put = (lines, id) => {
    for (const line of lines) {
      out.push(line)
      owners.push(id)
    }
  }
  let from = 0
  own.bodies.forEach(({ at, first, end }, n) => {
    put(own.lines.slice(from, first))
    from = end
    if (arms[n].length === 0) return put(own.texts[n])
    // Versions of a hidden type are different types, unless boxed.
    const hidden = own.lines.slice(at, first).join('\n').includes('-> impl Iterator<')
    const [open, close] = hidden ? ['crate::boxed({', '})'] : ['', '']
    put(['match crate::planted() {'])
    for (const { id, body } of [...arms[n], { body: own.texts[n] }]) put([`${id ?? '_'} => { ${open}`, ...body, `${close} }`], id)
    put(['}'])
  })
  put(own.lines.slice(from))
  return { text: out.join('\n'), owners }
}

/** Only the core and what drives it: what else the tests depend on need not be built. */
function copyWorkspace() {
  rmSync(COPY, { recursive: true, force: true })
  mkdirSync(COPY, { recursive: true })
  for (const path of ['Cargo.lock', 'rust-toolchain.toml', CORE, 'tests/sim', 'tests/properties', 'tests/src', 'tests/schemas']) {
    cpSync(join(ROOT, path), join(COPY, path), { recursive: true })
  }
  const manifest = readFileSync(join(ROOT, 'Cargo.toml'), 'utf8')
  const members = manifest.replace(/^members = \[[^\]]*\]/m, `members = ["${CORE}", "tests"]`)
  writeFileSync(join(COPY, 'Cargo.toml'), members.replace(/^driftline-(server|client) = .*\n/gm, ''))
  const tests = readFileSync(join(ROOT, 'tests', 'Cargo.toml'), 'utf8')
  writeFileSync(join(COPY, 'tests', 'Cargo.toml'), tests.replace(/^\[dev-dependencies\]\n(?:[^[\n].*\n|\n)*/m, ''))
}

/** The text of a file as a patch leaves it, for each file that it touches. */
export function patched(patch) {
  const place = join(WORK, 'patched')
  rmSync(place, { recursive: true, force: true })
  cpSync(join(ROOT, CORE, 'src'), join(place, CORE, 'src'), { recursive: true })
  const { status, stdout, stderr } = spawnSync('patch', ['-p1', '--no-backup-if-mismatch', '-i', patch], { cwd: place, encoding: 'utf8' })
  if (status !== 0) throw new Error(`${patch} no longer applies\n${stdout}${stderr}`)
  const files = [...readFileSync(patch, 'utf8').matchAll(/^\+\+\+ b\/(\S+)/gm)].map((match) => match[1])
  return files.map((file) => ({ file, text: readFileSync(join(place, file), 'utf8') }))
}

export const readSource = (file) => readFileSync(join(ROOT, file), 'utf8')

/**
 * Builds the workspace with all `mutants` (`{ id, file, text }`, ids from 1). Returns the programs built, and the ids of those
 * that do not compile, which are left out.
 */
export function build(mutants, cargoArgs) {
  copyWorkspace()
  const unviable = new Set()
  for (;;) {
    const owners = plant(mutants.filter(({ id }) => !unviable.has(id)))
    const args = [...cargoArgs, '--message-format=json', '--quiet']
    const env = { ...process.env, CARGO_TARGET_DIR: TARGET }
    const built = spawnSync('cargo', args, { cwd: COPY, env, encoding: 'utf8', maxBuffer: 1 << 30 })
    const messages = built.stdout.split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line))
    if (built.status === 0) {
      return { unviable, programs: messages.flatMap((message) => message.executable ?? []) }
    }
    const culprits = messages.flatMap(({ message }) => (message?.level === 'error' ? culprit(message, owners) : []))
    if (culprits.length === 0) {
      const errors = messages.flatMap(({ message }) => (message?.level === 'error' ? message.rendered : []))
      throw new Error(`the mutants do not build\n${errors.join('\n')}${built.stderr}`)
    }
    for (const id of culprits) unviable.add(id)
  }
}

function plant(mutants) {
  const owners = {}
  for (const file of new Set(mutants.map((mutant) => mutant.file))) {
    const woven = weave(file, readSource(file), mutants.filter((mutant) => mutant.file === file))
    owners[file] = woven.owners
    writeFileSync(join(COPY, file), woven.text)
  }
  const lib = join(COPY, CORE, 'src', 'lib.rs')
  writeFileSync(lib, readSource(join(CORE, 'src', 'lib.rs')) + CHOICE)
  return owners
}

function culprit({ spans }, owners) {
  const main = spans.filter((span) => span.is_primary)
  const of = (some) => some.map((span) => owners[span.file_name]?.[span.line_start - 1]).filter((id) => id !== undefined)
  return of(main).length > 0 ? of(main) : of(spans)
}

/** Runs a program with one mutant alive. It is over after so many seconds; then its status is `null`. */
export function runPlanted(id, program, args, seconds) {
  const env = { ...process.env, PLANTED: String(id), RUST_BACKTRACE: '0', PROPTEST_MAX_SHRINK_ITERS: '0' }
  const limited = ['-c', `ulimit -v ${MEMORY_KB}; exec "$@"`, 'sh', program, ...args]
  const options = { cwd: join(COPY, CORE), env, encoding: 'utf8', maxBuffer: 1 << 28, timeout: seconds * 1000, killSignal: 'SIGKILL' }
  return spawnSync('sh', limited, options)
}

export const program = (name) => {
  const path = join(TARGET, 'release', name)
  if (!existsSync(path)) throw new Error(`${path} has not been built`)
  return path
}
