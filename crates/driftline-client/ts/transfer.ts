/** Files of unsynced work. */

import { DriftlineError } from './errors.js';

export interface Exported {
  /** The file: JSON, to be kept as it is. */
  readonly text: string;
  readonly transactions: number;
  /** Of these another tab has not let go: bring it to the front or close it, and export again. */
  readonly leftOut: number;
}

export interface Imported {
  readonly imported: number;
  /** Waits here already. */
  readonly known: number;
  /** Could not be read on the device that exported it, and cannot be here. */
  readonly unreadable: number;
}

export interface ImportOptions {
  /** Takes the work of another user as this one's. If that one's device sends it too, it takes effect for both: twice. */
  readonly otherUser?: boolean;
}

/** What a file tells. A record is a transaction as it stands on disk: its key (client and number), its body, and why it is parked. */
export interface Content {
  readonly app: string;
  readonly user: string;
  readonly space: string;
  /** The latest version of the schema among the records. */
  readonly schema: number;
  readonly exported_at: string;
  readonly records: readonly string[];
}

const FORMAT = 1;

export async function writeFile(at: Omit<Content, 'schema' | 'exported_at'>): Promise<string> {
  const schema = Math.max(0, ...at.records.map(versionOf));
  const content: Content = { ...at, schema, exported_at: new Date().toISOString() };
  return JSON.stringify({ driftline: 'unsynced', format: FORMAT, sha256: await sha256(content), content });
}

/** Reads a file; one that is damaged is refused as a whole. */
export async function readFile(text: string): Promise<Content> {
  const file = parsed(text);
  if (file?.driftline !== 'unsynced') throw invalid('This is no file of unsynced work.');
  if (file.format !== FORMAT) throw invalid('The file is of another version of this app: load the page again.');
  const content = file.content as Content;
  if (file.sha256 !== (await sha256(content))) throw invalid('The file is damaged: nothing was taken from it.');
  return content;
}

function invalid(detail: string): DriftlineError {
  return new DriftlineError({ code: 'invalid_file', detail });
}

function versionOf(record: string): number {
  return Number(parsed(String(parsed(record)?.body))?.schema) || 0;
}

function parsed(text: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(text) ?? undefined;
  } catch {
    return undefined;
  }
}

/** Of the content and not of the text: whoever opens the file may indent it. */
async function sha256(content: Content): Promise<string> {
  const bytes = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(JSON.stringify(content)));
  return [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
