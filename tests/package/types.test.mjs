// The package's types, under each way in which TypeScript looks for them, and nothing in them left unchecked.

import { test } from 'node:test';
import { installApp, runIn } from './packed.mjs';

const COMPILERS = { typescript_7: 'typescript', typescript_5: 'typescript-5' };
const WAYS = [
  { module: 'esnext', moduleResolution: 'bundler' },
  { module: 'node16', moduleResolution: 'node16' },
  { module: 'nodenext', moduleResolution: 'nodenext' },
];

for (const [name, compiler] of Object.entries(COMPILERS)) {
  for (const { module, moduleResolution } of WAYS) {
    test(`p1_and_p2_the_types_of_the_package_hold_in_${name}_with_${moduleResolution}`, async () => {
      const folder = await installApp('types');
      const options = ['--module', module, '--moduleResolution', moduleResolution];
      await runIn(folder, 'node', [`node_modules/${compiler}/bin/tsc`, '-p', '.', ...options]);
    });
  }
}
