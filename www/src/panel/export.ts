/** A file of everything that is not on the server: the way out where nothing can be sent, or saved. */

import type { Database } from '../space.js';
import { sayError } from './codes.js';
import { saveFile } from './save-file.js';

export async function exportUnsent(db: Database, space: string, notify: (text: string) => void): Promise<void> {
  try {
    const { text, leftOut } = await db.exportUnsynced();
    saveFile(`${space}-unsynced.json`, text);
    if (leftOut > 0)
      notify(`${leftOut} changes of another tab are not in the file: bring it to the front, and export again.`);
  } catch (error) {
    notify(sayError(error));
  }
}
