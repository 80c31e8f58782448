import '@fontsource-variable/inter';
import '@xyflow/react/dist/style.css';
import './styles/base.css';
import './styles/canvas.css';
import './styles/panel.css';
import './styles/toolbar.css';
import './styles/topbar.css';

import { createRoot } from 'react-dom/client';
import { App } from './app.js';
import { currentSpace, DatabaseProvider, isDebug, openSpace } from './space.js';

const root = createRoot(document.getElementById('root') ?? document.body);
const space = currentSpace();
document.title = `${space} · Driftline`;

try {
  const db = await openSpace(space);
  if (isDebug) Object.assign(window, { driftline: db });
  root.render(
    <DatabaseProvider value={db}>
      <App space={space} />
    </DatabaseProvider>,
  );
} catch (error) {
  root.render(
    <div className="failure" role="alert">
      <h1>The canvas could not be opened</h1>
      <p>{error instanceof Error ? error.message : String(error)}</p>
      <button type="button" className="button" onClick={() => location.reload()}>
        Try again
      </button>
    </div>,
  );
}
