import { defineConfig } from 'vite';
import { VitePWA } from 'vite-plugin-pwa';

// For `npm run dev`, where Vite serves the app and the sync server runs beside it.
const SERVER = process.env.DRIFTLINE_SERVER ?? 'http://127.0.0.1:4077';

export default defineConfig({
  build: {
    target: 'es2022',
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
      // A new version takes over when the app is next opened: nobody's work is interrupted by a reload.
      registerType: 'autoUpdate',
      injectRegister: 'script-defer',
      manifest: {
        name: 'Driftline canvas',
        short_name: 'Driftline',
        description: 'A canvas that keeps working offline.',
        display: 'standalone',
        background_color: '#f6f7f9',
        theme_color: '#ffffff',
        icons: [{ src: 'icon.svg', sizes: 'any', type: 'image/svg+xml', purpose: 'any' }],
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
