// Keeps the page and the package, so that a reload works while nothing can be fetched. Never the API.

const FILES = [
  '/',
  '/start.js',
  '/driftline/index.js',
  '/driftline/blobs.js',
  '/driftline/driftline_client.js',
  '/driftline/driftline_client_bg.wasm',
];

self.addEventListener('install', (event) => {
  self.skipWaiting();
  event.waitUntil(caches.open('site').then((cache) => cache.addAll(FILES)));
});
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));
self.addEventListener('fetch', (event) => {
  if (new URL(event.request.url).pathname.startsWith('/v1/')) return;
  event.respondWith(caches.match(event.request, { ignoreSearch: true }).then((kept) => kept ?? fetch(event.request)));
});
