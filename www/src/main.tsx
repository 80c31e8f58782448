import '@fontsource-variable/inter';
import '@xyflow/react/dist/style.css';
import './styles/base.css';
import './styles/canvas.css';
import './styles/picture.css';
import './styles/panel.css';
import './styles/toolbar.css';
import './styles/topbar.css';
import './styles/menu.css';
import './styles/dialog.css';
import './styles/states.css';
import './styles/people.css';
import './styles/forced-colors.css';

import { createRoot } from 'react-dom/client';
import { App } from './app.js';
import { Files, FilesProvider } from './images/files.js';
import { beginOffline } from './panel/offline.js';
import { AccessProvider, AccessStore } from './share/access.js';
import { takeFromAddress } from './share/pass.js';
import { guardEdits, requireEdit } from './share/read-only.js';
import { currentSpace, DatabaseProvider, isDebug, openSpace } from './space.js';
import { Boundary } from './states/boundary.js';
import { Failure } from './states/failure.js';
import { takeLookAway } from './states/look.js';

const root = createRoot(document.getElementById('root') ?? document.body);
const space = currentSpace();
document.title = `${space} · Driftline`;

takeFromAddress(space);
// A link that is opened in the same tab loads no page: with another pass it has to be another one.
addEventListener('hashchange', () => {
  if (takeFromAddress(space)) location.reload();
});

try {
  const db = await openSpace(space);
  const access = new AccessStore(space);
  guardEdits(db, access);
  const files = new Files(db, space, () => requireEdit(access));
  // Before anything is sent: nothing else is waited for between opening the space and this.
  await beginOffline(files);
  if (isDebug) Object.assign(window, { driftline: db, files });
  root.render(
    <Boundary>
      <DatabaseProvider value={db}>
        <AccessProvider value={access}>
          <FilesProvider value={files}>
            <App space={space} />
          </FilesProvider>
        </AccessProvider>
      </DatabaseProvider>
    </Boundary>,
  );
} catch (error) {
  takeLookAway();
  root.render(<Failure error={error} />);
}
