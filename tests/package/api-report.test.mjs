// The committed description of the API says what the package offers, and a change of either is told.

import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkReport, describePackage } from '../../scripts/api-report.mjs';
import { tempDir } from '../browser/harness.mjs';

const MANIFEST = {
  name: 'small',
  exports: {
    './more': { types: './dist/more.d.ts', default: './dist/more.js' },
    '.': { types: './dist/index.d.ts', default: './dist/index.js' },
    './style.css': './dist/style.css',
  },
};

const FILES = {
  'index.d.ts': `/** The entry. */
import type { Inner } from './inner.js';
export { type Box, make as build } from './inner.js';
export { type Shown };
/** Says what is in it; not this: } or export declare const wrong: string; */
export declare const words: 'a;b' | \`c}\${string}\`;
declare class Shown {
    #private;
    /** Of no account. */
    readonly inner: Inner;
    private constructor();
}
`,
  'inner.d.ts': `export interface Box {
    readonly size: number;
}
export interface Inner {
    readonly deep: Deep;
}
type Deep = {
    readonly one: 1;
}
/** The second. */
 | {
    readonly two: 2;
};
export declare function make(size: number): Box;
export declare function make(size: string): Box;
export declare function unseen(): void;
export {};
`,
  'more.d.ts': "export * from './inner.js';\n",
};

const EXPECTED = `## \`small\`

\`\`\`ts
interface Box {
    readonly size: number;
}

// Only its type.
class Shown {
    readonly inner: Inner;
    private constructor();
}

// As \`build\`.
function make(size: number): Box;
function make(size: string): Box;

const words: 'a;b' | \`c}\${string}\`;
\`\`\`

Named by these, and not exported:

\`\`\`ts
type Deep = {
    readonly one: 1;
} | {
    readonly two: 2;
};

interface Inner {
    readonly deep: Deep;
}
\`\`\`

## \`small/more\`

\`\`\`ts
interface Inner {
    readonly deep: Deep;
}

function unseen(): void;
\`\`\`

Also:

- \`Box\`, as in \`small\`
- \`make\`, as in \`small\`

## Files

- \`small/style.css\`
`;

function smallPackage(files = {}) {
  const folder = tempDir('api');
  mkdirSync(join(folder, 'dist'));
  writeFileSync(join(folder, 'package.json'), JSON.stringify(MANIFEST));
  for (const [name, text] of Object.entries({ ...FILES, ...files })) writeFileSync(join(folder, 'dist', name), text);
  return folder;
}

test('p1_the_api_report_is_what_the_package_offers', () => checkReport());

test('p1_the_api_report_names_what_is_exported_and_what_that_names', async () => {
  const report = await describePackage(smallPackage());
  assert.equal(report.slice(report.indexOf('## ')), EXPECTED);
});

test('p1_a_changed_api_is_told_line_by_line', async () => {
  const report = join(tempDir('api-report'), 'small.api.md');
  const before = smallPackage();
  writeFileSync(report, await describePackage(before));
  await checkReport(before, report);

  const after = smallPackage({ 'inner.d.ts': FILES['inner.d.ts'].replace('make(size: string)', 'make(size: Date)') });
  await assert.rejects(checkReport(after, report), ({ message }) => {
    const changed = message.split('\n').filter((line) => /^[-+] /.test(line));
    const expected = ['- function make(size: string): Box;', '+ function make(size: Date): Box;'];
    assert.deepEqual(changed, expected);
    return true;
  });
});
