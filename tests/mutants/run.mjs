// Plants each bug of this directory in a copy of the core, all of them in one build, and looks whether the simulator finds it, or a
// family of the properties. `node tests/mutants/run.mjs [NAME…]`: fails unless each is found within its bound.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { build, patched, program, ROOT, runPlanted } from './weave.mjs'

/** By whom each is found, and within how many seeds: three to five times as many as it takes on average. */
const BOUNDS = {
  'a-cycle-sent-in-parts': { by: 'sim', within: 10 },
  'acknowledged-before-the-commit': { by: 'sim', within: 200 },
  'answer-of-an-earlier-push-taken': { by: 'sim', within: 600 },
  'base-kept-aside-overwritten': { by: 'sim', within: 5 },
  'batch-over-its-bound': { by: 'batches', within: 300 },
  'cascade-stops-at-the-grandchildren': { by: 'integrity', within: 30 },
  'children-after-their-parent': { by: 'order', within: 35 },
  'closed-over-a-gap': { by: 'sim', within: 6 },
  'counter-replayed-on-its-own-effect': { by: 'sim', within: 30 },
  'deferred-reference-lost': { by: 'order', within: 20 },
  'deleted-row-made-again': { by: 'integrity', within: 30 },
  'digest-forgets-the-old-row': { by: 'sim', within: 5 },
  'discarded-comes-back': { by: 'sim', within: 600 },
  'effect-of-what-was-replaced-overlooked': { by: 'dedupe', within: 100 },
  'folded-across-a-dependency': { by: 'sim', within: 200 },
  'folded-into-what-was-sent': { by: 'sim', within: 25 },
  'gap-in-the-log-passed-over': { by: 'sim', within: 150 },
  'gaps-forgotten': { by: 'sim', within: 5 },
  'heard-again-after-it-was-settled': { by: 'sim', within: 400 },
  'key-reused-taken-for-a-repeat': { by: 'sim', within: 35 },
  'last-writer-by-time-alone': { by: 'merge', within: 20 },
  'move-cancelled-by-a-delete': { by: 'order', within: 500 },
  'offered-and-still-folded': { by: 'sim', within: 250 },
  'ordered-by-time': { by: 'order', within: 6 },
  'parked-holds-nobody': { by: 'sim', within: 5 },
  'receipt-not-on-disk': { by: 'sim', within: 25 },
  'refusal-not-remembered': { by: 'dedupe', within: 10 },
  'replaced-and-still-taken': { by: 'dedupe', within: 100 },
  'replaced-by-number-alone': { by: 'dedupe', within: 25 },
  'resent-in-other-words': { by: 'sim', within: 5 },
  'restore-over-a-living-row': { by: 'undo', within: 150 },
  'sent-before-saved': { by: 'sim', within: 5 },
  'set-null-forgotten': { by: 'integrity', within: 15 },
  'snapshot-hides-what-waits': { by: 'sim', within: 15 },
  'step-taken-twice': { by: 'migrations', within: 45 },
  'taken-twice-after-a-refusal': { by: 'dedupe', within: 8000 },
  'undo-over-what-others-wrote': { by: 'undo', within: 80 },
  'update-folded-into-a-restore': { by: 'undo', within: 300 },
  'waits-for-good': { by: 'sim', within: 40 },
}

const HERE = join(ROOT, 'tests', 'mutants')
/** One that makes the simulator run for so long is found, too. */
const SECONDS = 600
/** Seeds of the first run of a program; each run after it has twice as many, until one of them finds the bug. */
const FIRST_RUN = 4

/** What is found in `count` seeds from `from` on: each finding with the seeds that lead to it. */
function findings(id, by, from, count) {
  const [name, args, shown] =
    by === 'sim'
      ? ['sim', ['--no-shrink', '--seeds'], /^seed (\d+):\n {2}(\w+):/gm]
      : ['properties', ['--family', by, '--histories'], /^ {2}seed (\d+) breaks (\S+):/gm]
  const { status, stdout } = runPlanted(id, program(name), [...args, String(count), '--from', String(from)], SECONDS)
  const found = [...stdout.matchAll(shown)].map(([, seed, what]) => ({ from: Number(seed), count: 1, what }))
  return status === 0 || found.length > 0 ? found : [{ from, count, what: 'stopped' }]
}

/** The first finding that is not there without the bug. */
function find(id, { by, within }) {
  for (let from = 1, count = FIRST_RUN; from <= within; from += count, count *= 2) {
    const found = findings(id, by, from, Math.min(count, within + 1 - from))
    const due = found.find((finding) => findings(0, by, finding.from, finding.count).length === 0)
    if (due) return due
  }
}

const words = process.argv.slice(2)
const names = readdirSync(HERE).flatMap((file) => (file.endsWith('.patch') ? file.replace('.patch', '') : [])).sort()
const unbound = names.filter((name) => !(name in BOUNDS)).concat(Object.keys(BOUNDS).filter((name) => !names.includes(name)))
if (unbound.length > 0) throw new Error(`a bound without a patch, or a patch without a bound: ${unbound.join(', ')}`)

const planted = names.map((name, n) => ({ id: n + 1, name, ...BOUNDS[name] }))
const versions = planted.flatMap(({ id, name }) => patched(join(HERE, `${name}.patch`)).map((file) => ({ id, ...file })))
const { unviable } = build(versions, ['build', '--release', '-p', 'driftline-tests'])
if (unviable.size > 0) throw new Error(`do not compile: ${[...unviable].map((id) => names[id - 1]).join(', ')}`)

const sought = planted.filter(({ name }) => words.length === 0 || words.includes(name))
let missed = 0
for (const bug of sought) {
  const found = find(bug.id, bug)
  if (found) {
    console.log(`${bug.name}: found by ${bug.by} at seed ${found.from} of ${bug.within} (${found.what})`)
  } else {
    console.error(`${bug.name}: not found by ${bug.by} within ${bug.within} seeds`)
    missed += 1
  }
}
console.log(`${sought.length} sought, ${missed} missed`)
process.exit(missed ? 1 : 0)
