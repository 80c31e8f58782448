// Keeps the page and the engine, so that a start needs no network.

import { precache } from 'driftline/service-worker';

// Both are put in by build.mjs.
declare const VERSION: string;
declare const FILES: readonly string[];

precache({ version: VERSION, files: FILES });
