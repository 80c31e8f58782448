// Too long for `npm test` (ten minutes and more): `npm run mutants [-- WORD…]` makes every mutant that cargo-mutants knows of the
// files below, or those with one of the words in their names. With each it runs the core's tests, then the properties, then the
// simulator, until something fails. It fails where a mutant survives that survivors.json does not list with a reason, and where
// one is listed that does not survive.
import { readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { capture } from '../../scripts/run.mjs'
import { cargoMutants } from '../../scripts/setup.mjs'
import { build, program, ROOT, readSource, runPlanted, WORK } from './weave.mjs'

const accepted = JSON.parse(readFileSync(join(ROOT, 'tests', 'mutants', 'survivors.json'), 'utf8'))
const FILES = ['outbox', 'order', 'dedupe', 'reconcile'].map((name) => `crates/driftline-core/src/${name}.rs`)
const HISTORIES = 1_000
const SEEDS = 500
/** A mutant that runs for so long is in a loop; the product takes a twentieth of it. */
const TESTS_SECONDS = 60
const RUN_SECONDS = 300

async function mutantsOf(files) {
  const options = files.flatMap((file) => ['-f', file])
  const listed = await capture(await cargoMutants(), ['mutants', '--list', '--json', '-p', 'driftline-core', ...options])
  return JSON.parse(listed).map(({ file, name, span, replacement, genre }, n) => {
    const text = readSource(file)
    const [start, end] = [placeOf(text, span.start), placeOf(text, span.end)]
    const mutated = `${text.slice(0, start)}${replacement || ' '}${text.slice(end)}`
    const line = mutated.split('\n')[span.start.line - 1].trim()
    // Without the line's number, which changes with every line above it; a whole function is known by its name.
    const mutation = name.replace(/^.*?: /, '')
    return { id: n + 1, file, name, mutation, line: genre === 'FnValue' ? undefined : line, text: mutated }
  })
}

function placeOf(text, { line, column }) {
  const before = text.split('\n', line - 1)
  return before.reduce((sum, { length }) => sum + length + 1, 0) + column - 1
}

const isOf = (mutant) => (listed) =>
  mutant.file.endsWith(`/${listed.file}`) && listed.mutation === mutant.mutation && listed.line === mutant.line

/** Those of the mutants that `fails` does not find. */
function survivorsOf(mutants, by, fails) {
  const survivors = mutants.filter((mutant) => {
    const found = fails(mutant)
    if (!found) console.log(`passed by ${by}: ${mutant.name}`)
    return !found
  })
  console.log(`${mutants.length - survivors.length} of ${mutants.length} are killed by ${by}`)
  return survivors
}

const kills = (id, path, args, seconds) => runPlanted(id, path, args, seconds).status !== 0

function mustPass(path, args) {
  const { status, stdout, stderr } = runPlanted(0, path, args, RUN_SECONDS)
  if (status !== 0) throw new Error(`${path} fails without any mutant\n${stdout}${stderr}`)
}

/** Programs that pass without a mutant, the quickest first. */
function timed(paths) {
  const times = paths.map((path) => {
    const began = Date.now()
    mustPass(path, [])
    return { path, took: Date.now() - began }
  })
  return times.sort((a, b) => a.took - b.took).map(({ path }) => path)
}

const words = process.argv.slice(2)
const all = (await mutantsOf(FILES)).filter(({ name }) => words.length === 0 || words.some((word) => name.includes(word)))
const { unviable, programs } = build(all, ['test', '--no-run', '-p', 'driftline-core'])
const viable = all.filter(({ id }) => !unviable.has(id))
console.log(`${all.length} mutants, of which ${unviable.size} do not compile`)

// The module's own tests first, which take no time; then what takes the least.
const quickest = timed(programs)
const unit = programs.find((path) => /\/driftline_core-[^/]*$/.test(path))
const testsFail = ({ id, file }) =>
  kills(id, unit, [`${basename(file, '.rs')}::tests::`], TESTS_SECONDS) || quickest.some((path) => kills(id, path, [], TESTS_SECONDS))
let left = survivorsOf(viable, 'the tests of the core', testsFail)
const byTests = viable.length - left.length

build(left, ['build', '--release', '-p', 'driftline-tests'])
const histories = ['--histories', String(HISTORIES)]
const seeds = ['--seeds', String(SEEDS)]
mustPass(program('properties'), histories)
mustPass(program('sim'), seeds)
left = survivorsOf(left, 'the properties', ({ id }) => kills(id, program('properties'), histories, RUN_SECONDS))
const byProperties = viable.length - byTests - left.length
const survivors = survivorsOf(left, 'the simulator', ({ id }) => kills(id, program('sim'), seeds, RUN_SECONDS))
const bySim = left.length - survivors.length

const unknown = survivors.filter((mutant) => !accepted.some(isOf(mutant)))
const gone = accepted.filter((listed) => words.length === 0 && !survivors.some((mutant) => isOf(mutant)(listed)))
const report = unknown.map(({ file, mutation, line }) => ({ file: file.split('/').at(-1), mutation, line, why: '' }))
writeFileSync(join(WORK, 'survivors.json'), `${JSON.stringify(report, null, 2)}\n`)
for (const { name, line } of unknown) console.error(`survives and is not listed: ${name}${line ? `\n    ${line}` : ''}`)
for (const { mutation, line } of gone) console.error(`is listed and does not survive: ${mutation}${line ? `\n    ${line}` : ''}`)
const killed = viable.length - survivors.length
console.log(
  `viable ${viable.length}, killed ${killed} (${((100 * killed) / viable.length).toFixed(1)} %): by the tests of the core ${byTests}, ` +
    `by the properties ${byProperties}, by the simulator ${bySim}; survivors ${survivors.length}, of which listed ${survivors.length - unknown.length}`,
)
process.exit(unknown.length + gone.length > 0 ? 1 : 0)
