// The package on a page of its own, for tests that bring their own schema.

const driftline = await import('/driftline/index.js');

window.driftline = driftline;

/** Opens a space and keeps it as `window.db`. Resolves when reads show what is on this device. */
window.start = async (schema, space, options = {}) => {
  await window.begin(schema, space, options);
  await window.db.loaded;
};

/** The same, without waiting for what is on this device. */
window.begin = async (schema, space, options = {}) => {
  const settings = typeof schema === 'string' ? JSON.parse(schema) : schema;
  window.db = await driftline.open({ schema: settings, space, url: '', ...options });
};

await navigator.serviceWorker.register('/sw.js');
await navigator.serviceWorker.ready;
window.isReady = true;
