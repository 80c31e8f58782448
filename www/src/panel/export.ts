/** A file of everything that is not on the server: the way out where nothing can be sent, or saved. */

import type { Files } from '../images/files.js';
import type { Database } from '../space.js';
import { sayError } from './codes.js';
import { saveFile } from './save-file.js';
import { countOf } from './words.js';

export async function exportUnsent(db: Database, { space, status }: Files, notify: (text: string) => void) {
  try {
    const { text, leftOut } = await db.exportUnsynced();
    saveFile(`${space}-unsynced.json`, text);
    const pictures = status.files.waiting + status.files.parked;
    if (!(await isLoaded(db)))
      return notify(
        'The file has what was made in this tab. What this device held before could not be read, and is not in it.',
      );
    if (leftOut > 0)
      notify(`${leftOut} changes of another tab are not in the file: bring it to the front, and export again.`);
    else if (pictures > 0)
      notify(`Left out: ${countOf(pictures, 'picture')}. They stay on this device, and wait here.`);
  } catch (error) {
    notify(sayError(error));
  }
}

/** Whether what this device holds has been read. */
const isLoaded = (db: Database) =>
  Promise.race([db.loaded.then(() => true), new Promise<boolean>((resolve) => setTimeout(resolve, 0, false))]);
