import '@xyflow/react/dist/style.css';
import './style.css';

import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { App } from './app.js';

// Not waited for: a page that the browser keeps no worker for works online.
navigator.serviceWorker?.register('./service-worker.js').catch(() => {});

const space = new URLSearchParams(location.search).get('space') ?? 'welcome';
createRoot(document.getElementById('root') as HTMLElement).render(
  <StrictMode>
    <App space={space} />
  </StrictMode>,
);
