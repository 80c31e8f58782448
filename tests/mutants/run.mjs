// Plants each bug of this directory in a copy of the core, all of them in one build, and looks whether the simulator finds it, or a
// family of the properties. `node tests/mutants/run.mjs [NAME…]`: fails unless each is found within its bound.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { build, patched, program, ROOT, runPlanted } from './weave.mjs'

/** By whom each is found, and within how many seeds: some five times as many as it takes on average. */
const BOUNDS = {
  'a-cycle-sent-in-parts': { by: 'sim', within: 30 },
  'acknowledged-before-the-commit': { by: 'sim', within: 300 },
  'answer-of-an-earlier-push-taken': { by: 'sim', within: 200 },
  'base-kept-aside-overwritten': { by: 'sim', within: 5 },
  'batch-over-its-bound': { by: 'batches', within: 300 },
  'cascade-stops-at-the-grandchildren': { by: 'integrity', within: 50 },
  'children-after-their-parent': { by: 'order', within: 60 },
  'closed-over-a-gap': { by: 'sim', within: 15 },
  'counter-replayed-on-its-own-effect': { by: 'sim', within: 20 },
  'deferred-reference-lost': { by: 'order', within: 50 },
  'deleted-row-made-again': { by: 'integrity', within: 60 },
  'digest-forgets-the-old-row': { by: 'sim', within: 10 },
  'discarded-comes-back': { by: 'sim', within: 300 },
  'folded-across-a-dependency': { by: 'sim', within: 100 },
  'folded-into-what-was-sent': { by: 'sim', within: 60 },
  'gap-in-the-log-passed-over': { by: 'sim', within: 1000 },
  'gaps-forgotten': { by: 'sim', within: 10 },
  'heard-again-after-it-was-settled': { by: 'sim', within: 100 },
  'key-reused-taken-for-a-repeat': { by: 'dedupe', within: 60 },
  'last-writer-by-time-alone': { by: 'merge', within: 30 },
  'move-cancelled-by-a-delete': { by: 'order', within: 400 },
  'offered-and-still-folded': { by: 'sim', within: 60 },
  'ordered-by-time': { by: 'order', within: 10 },
  'parked-holds-nobody': { by: 'sim', within: 4 },
  'receipt-not-on-disk': { by: 'sim', within: 120 },
  'refusal-not-remembered': { by: 'dedupe', within: 100 },
  'resent-in-other-words': { by: 'sim', within: 15 },
  'restore-over-a-living-row': { by: 'undo', within: 100 },
  'sent-before-saved': { by: 'sim', within: 10 },
  'set-null-forgotten': { by: 'integrity', within: 60 },
  'snapshot-hides-what-waits': { by: 'sim', within: 40 },
  'step-taken-twice': { by: 'migrations', within: 60 },
  'undo-over-what-others-wrote': { by: 'undo', within: 200 },
  'update-folded-into-a-restore': { by: 'undo', within: 400 },
}

const HERE = join(ROOT, 'tests', 'mutants')
/** One that makes the simulator run for so long is found, too. */
const SECONDS = 600

function find(id, { by, within }) {
  if (by === 'sim') {
    const { status, stdout } = runPlanted(id, program('sim'), ['--seeds', String(within)], SECONDS)
    const found = /^failed: (\d+) of \d+: (\d+) (\w+)/m.exec(stdout)
    if (found) return `the simulator's seed ${found[2]} (${found[3]}), and ${found[1]} of ${within}`
    return status === 0 ? undefined : 'the simulator, which stopped'
  }
  const { status, stdout } = runPlanted(id, program('properties'), ['--family', by, '--histories', String(within)], SECONDS)
  const found = /^ {2}seed (\d+) breaks (\S+):/m.exec(stdout)
  if (found) return `the history ${found[1]} of ${by} (${found[2]}), and ${/failed: (\d+) of/.exec(stdout)?.[1]} of ${within}`
  return status === 0 ? undefined : `the histories of ${by}, which stopped`
}

const words = process.argv.slice(2)
const names = readdirSync(HERE).flatMap((file) => (file.endsWith('.patch') ? file.replace('.patch', '') : [])).sort()
const unbound = names.filter((name) => !(name in BOUNDS)).concat(Object.keys(BOUNDS).filter((name) => !names.includes(name)))
if (unbound.length > 0) throw new Error(`a bound without a patch, or a patch without a bound: ${unbound.join(', ')}`)

const planted = names.map((name, n) => ({ id: n + 1, name, ...BOUNDS[name] }))
const versions = planted.flatMap(({ id, name }) => patched(join(HERE, `${name}.patch`)).map((file) => ({ id, ...file })))
const { unviable } = build(versions, ['build', '--release', '-p', 'driftline-tests'])
if (unviable.size > 0) throw new Error(`do not compile: ${[...unviable].map((id) => names[id - 1]).join(', ')}`)

// Without any of them nothing is found.
const found = [...new Set(planted.map(({ by }) => by))].map((by) => find(0, { by, within: 50 })).filter((found) => found)
if (found.length > 0) throw new Error(`found without any bug: ${found.join(', ')}`)

const sought = planted.filter(({ name }) => words.length === 0 || words.includes(name))
let missed = 0
for (const bug of sought) {
  const found = find(bug.id, bug)
  if (found) {
    console.log(`${bug.name}: found by ${found}`)
  } else {
    console.error(`${bug.name}: not found by ${bug.by} within ${bug.within} seeds`)
    missed += 1
  }
}
console.log(`${sought.length} sought, ${missed} missed`)
process.exit(missed ? 1 : 0)
