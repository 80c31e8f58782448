// Every block of code on the pages is what it claims to be; run.test.mjs and quickstart.test.mjs also do what the blocks say.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { blocksOf, readPages } from './blocks.mjs';
import { check } from './checks.mjs';
import { checkSentences } from './commands.mjs';

test('p3_every_block_of_the_pages_is_sound', async () => {
  const blocks = (await readPages()).flatMap(blocksOf);
  const languages = new Set(blocks.map(({ language }) => language));
  const unmet = ['html', 'js', 'json', 'sh', 'sql', 'text', 'ts', 'tsx'].filter((language) => !languages.has(language));
  assert.deepEqual(unmet, [], 'each check has something to check');
  assert.deepEqual(await check(blocks), []);
});

test('p3_commands_in_sentences_exist', async () => {
  const problems = await Promise.all((await readPages()).map(checkSentences));
  assert.deepEqual(problems.flat(), []);
  const planted =
    'Say `driftline serve --now`, `npm run nothing -- --fast`, or `driftline serve --schema … --data DIR`.';
  const found = await checkSentences({ path: 'page.md', text: planted });
  assert.deepEqual(found, [
    'page.md:1: `driftline serve` has no --now',
    'page.md:1: package.json has no script `nothing`',
  ]);
});

/** What is found on a page of these lines. */
const found = (...lines) => check(blocksOf({ path: 'page.md', text: lines.join('\n') }));
const SCHEMA =
  "const schema = defineSchema({ name: 'a', version: 1, tables: { card: { fields: { n: { type: 'int' } } } } });";

test('p3_a_planted_error_is_found_where_it_stands', async () => {
  const planted = [
    [3, ['```ts', 'const one = 1;', "const two: number = 'two';", '```'], /TS2322/],
    [2, ['```ts', "import { opne } from 'driftline';", '```'], /TS2724|TS2305/],
    [5, ['```ts', 'const one = 1;', '```', '```ts continued', 'one.toUpperCase();', '```'], /TS2339/],
    [
      2,
      [
        '```ts',
        "import { defineSchema } from 'driftline';",
        SCHEMA.replaceAll("'int'", "'text', max_chars: -1"),
        '```',
      ],
      /max_chars/,
    ],
    [
      3,
      [
        '```tsx',
        'const Card = ({ text }: { text: string }) => <p>{text}</p>;',
        'export const one = <Card txt="" />;',
        '```',
      ],
      /TS2322/,
    ],
    [2, ['```js', 'const = 1;', '```'], /Expected/],
    [2, ['```jsx', 'export const one = <p>;', '```'], /Unexpected|Expected/],
    [2, ['```json', '{"a": {…}, }', '```'], /JSON/],
    [
      2,
      [
        '```json schema.json',
        '{"name": "a", "version": 1, "tables": {"b": {"fields": {"c": {"type": "nubmer"}}}}}',
        '```',
      ],
      /`type` must be text/,
    ],
    [2, ['```sh', 'driftline serve --scheme schema.json', '```'], /has no --scheme/],
    [2, ['```sh', 'driftline migrate plane', '```'], /has no command plane/],
    [3, ['```sh', 'npm start', 'npm run strat', '```'], /no script `strat`/],
    [2, ['```sh', 'npm --prefix www run nothing', '```'], /www\/package.json has no script `nothing`/],
    [2, ['```sh', 'cargo build -p driftline-server --features postgress', '```'], /no feature postgress/],
    [2, ['```sh', 'truncate data', '```'], /nobody checks the program `truncate`/],
    [
      6,
      ['```ts', "import { defineSchema } from 'driftline';", SCHEMA, '```', '```sql', 'SELECT m FROM card', '```'],
      /no such column/,
    ],
    [2, ['```', 'anything', '```'], /nobody checks blocks of ``/],
    [2, ['```yaml', 'a: 1', '```'], /nobody checks blocks of `yaml`/],
  ];
  for (const [line, lines, what] of planted) {
    const problems = await found(...lines);
    assert.equal(problems.length, 1, lines.join('\n'));
    assert.match(problems[0], what);
    assert.ok(problems[0].startsWith(`page.md:${line}: `), `${problems[0]} in line ${line} of:\n${lines.join('\n')}`);
  }
});

test('p3_what_is_right_passes', async () => {
  const right = [
    '```ts',
    'export const one: number = 1;',
    '```',
    '```json',
    '{"rows": […]}',
    '```',
    '```text',
    '…',
    '```',
  ];
  assert.deepEqual(await found(...right), []);
});

test('a block without an end, or that continues nothing, is refused', async () => {
  assert.throws(() => blocksOf({ path: 'page.md', text: '```ts\nconst one = 1;' }), /has no end/);
  await assert.rejects(found('```ts continued', 'const one = 1;', '```'), /no block that this one could continue/);
});
