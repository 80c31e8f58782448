import { defineConfig } from 'vite';
import { VitePWA } from 'vite-plugin-pwa';

// For `npm run dev`, where Vite serves the app and the sync server runs beside it.
const SERVER = process.env.DRIFTLINE_SERVER ?? 'http://127.0.0.1:4077';

export default defineConfig({
  build: {
    target: 'es2022',
    // Newer than the scripts: `light-dark()` of the colours is left to the browser.
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'],
    // One file: the service worker fetches all of it beforehand anyway, and a cold start needs all of it.
    chunkSizeWarningLimit: 800,
    rolldownOptions: {
      // "use client" speaks to server frameworks, and means nothing here.
      onwarn: (warning, warn) => void (warning.code === 'MODULE_LEVEL_DIRECTIVE' || warn(warning)),
    },
  },
  server: { proxy: { '/v1': { target: SERVER, ws: true } } },
  plugins: [
    VitePWA({
      // A new version waits until the person says so, or the app is next opened: nobody's work is interrupted by a reload.
      registerType: 'prompt',
      injectRegister: 'script-defer',
      manifest: {
        name: 'Driftline canvas',
        short_name: 'Driftline',
        description: 'A canvas that keeps working offline.',
        display: 'standalone',
        id: '/',
        start_url: '/',
        scope: '/',
        lang: 'en',
        categories: ['productivity'],
        background_color: '#f5f6f9',
        theme_color: '#ffffff',
        icons: [
          { src: '/icon.svg', sizes: 'any', type: 'image/svg+xml', purpose: 'any' },
          { src: '/icons/icon-192.png', sizes: '192x192', type: 'image/png', purpose: 'any' },
          { src: '/icons/icon-512.png', sizes: '512x512', type: 'image/png', purpose: 'any' },
          // A system that cuts icons to a shape of its own leaves the middle four fifths.
          { src: '/icons/maskable-192.png', sizes: '192x192', type: 'image/png', purpose: 'maskable' },
          { src: '/icons/maskable-512.png', sizes: '512x512', type: 'image/png', purpose: 'maskable' },
        ],
      },
      workbox: {
        // Everything that a cold start without a network needs, the engine's wasm included.
        globPatterns: ['**/*.{html,js,css,wasm,svg,woff2}'],
        // Other scripts than Latin are shown in the system's font when there is no network.
        globIgnores: ['**/inter-{cyrillic,greek,vietnamese}*'],
        maximumFileSizeToCacheInBytes: 8 * 1024 * 1024,
        navigateFallback: '/index.html',
        // The API is never answered from a cache: the engine keeps what is to be kept. The documentation is no page of the app.
        navigateFallbackDenylist: [/^\/v1\//, /^\/docs(\/|$)/],
      },
    }),
  ],
});
