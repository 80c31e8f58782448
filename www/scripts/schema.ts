/** Writes server/schema.json from src/schema.ts; with `--check` it only says whether the two agree. */

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { schema } from '../src/schema.js';

// npm runs scripts in the folder of their package.json.
const FILE = 'server/schema.json';
const text = `${JSON.stringify(schema, null, 2)}\n`;

if (!process.argv.includes('--check')) {
  mkdirSync('server', { recursive: true });
  writeFileSync(FILE, text);
  console.log(`wrote ${FILE}`);
} else if (!existsSync(FILE) || readFileSync(FILE, 'utf8') !== text) {
  console.error(`${FILE} does not agree with src/schema.ts: run \`npm run schema -w www\` and commit both`);
  process.exit(1);
}
