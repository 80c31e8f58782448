/** Puts what an inspector draws into an element, apart from the page's styles. */

import type { Inspector } from './inspector.js';
import { drawAll } from './views/dom.js';
import { inspector } from './views/inspector.js';
import { STYLES } from './views/styles.js';
import { followTheme } from './views/theme.js';

export function mount(element: HTMLElement, seen: Inspector): () => void {
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
  const unview = seen.view((state, actions) => drawAll(root, app, inspector(state, actions)));
  return () => {
    unview();
    unfollow();
    host.remove();
  };
}
