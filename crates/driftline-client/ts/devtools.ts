/**
 * The inspector: `driftline/devtools`.
 *
 * Shows what a space does with what is made in it: the outbox as a graph, why each transaction waits, its requests, what is stored, and what
 * happens when the network fails. It costs nothing until it is mounted.
 */

import type { Db } from './db.js';
import type { AnyDb } from './devtools/db.js';
import { Inspector } from './devtools/inspector.js';
import { drawAll } from './devtools/views/dom.js';
import { inspector } from './devtools/views/inspector.js';
import { STYLES } from './devtools/views/styles.js';
import { followTheme } from './devtools/views/theme.js';
import { listSpaces } from './index.js';
import type { SchemaInput } from './schema.js';

/**
 * Draws the inspector into an element, apart from the page's styles. The function that it returns takes all of it away, and ends what is
 * simulated. In one element there is one inspector at a time.
 */
export function mountInspector<S extends SchemaInput>(element: HTMLElement, db: Db<S>): () => void {
  const host = element.ownerDocument.createElement('div');
  const root = host.attachShadow({ mode: 'open' });
  // A sheet made by script needs no leave of the page's policy, as a style element would.
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(STYLES);
  root.adoptedStyleSheets = [sheet];
  const app = element.ownerDocument.createElement('div');
  app.className = 'app';
  root.append(app);
  host.style.height = '100%';
  element.append(host);
  const unfollow = followTheme(host, app);
  const seen = new Inspector(db as unknown as AnyDb, listSpaces, (state, actions) =>
    drawAll(root, app, inspector(state, actions)),
  );
  return () => {
    seen.stop();
    unfollow();
    host.remove();
  };
}
