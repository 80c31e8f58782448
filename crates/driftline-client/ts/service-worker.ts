/**
 * What an app's own service worker needs so that the app starts without a network: `driftline/service-worker`.
 *
 * It keeps the files of the page and the engine. The rows are kept by the engine, and the server's API is never answered from here.
 */

export interface PrecacheOptions {
  /** Another one for each build: a hash of what was built, say. */
  readonly version: string;
  /**
   * What a start needs, by addresses that are relative to the worker's scope: the page itself as `./`, its scripts and styles. The engine is
   * looked for beside the page, under the name that it has in the package, unless one of them ends in `.wasm`.
   */
  readonly files: readonly string[];
  /** The page that is shown for addresses that are not among the files while there is no network; `./` if left out. */
  readonly page?: string;
}

/** What is used of the worker's global scope, which the types of pages do not know. */
interface Scope {
  readonly registration: { readonly scope: string };
  readonly clients: { claim(): Promise<void> };
  skipWaiting(): Promise<void>;
  addEventListener(type: 'install' | 'activate', listener: (event: Lifecycle) => void): void;
  addEventListener(type: 'fetch', listener: (event: Fetching) => void): void;
}
interface Lifecycle {
  waitUntil(done: Promise<unknown>): void;
}
interface Fetching {
  readonly request: Request;
  respondWith(response: Promise<Response>): void;
}

const ENGINE = './driftline_client_bg.wasm';
/** A page is the same whatever its query, and what was fetched by the worker serves the page whatever headers it sends. */
const MATCHING = { ignoreSearch: true, ignoreVary: true };

/**
 * To be called at once when the worker starts. All files are kept before a version takes over; where one of them cannot be had, the version
 * before goes on. A version takes over when it is complete, and pages that are open then still find what the one before had.
 */
export function precache({ version, files, page = './' }: PrecacheOptions): void {
  const scope = globalThis as unknown as Scope;
  if (!scope.registration?.scope) throw new TypeError('precache() is for service workers');
  const at = (file: string) => new URL(file, scope.registration.scope).href;
  const hasEngine = files.some((file) => new URL(at(file)).pathname.endsWith('.wasm'));
  const addresses = [...new Set([page, ...files, ...(hasEngine ? [] : [ENGINE])].map(at))];
  const api = addresses.find(isApi);
  if (api) throw new TypeError(`${api} is the server's: it is never answered from a cache`);
  const all = `driftline/files/${scope.registration.scope} `;
  const name = all + version;

  scope.addEventListener('install', (event) =>
    event.waitUntil(install(name, addresses).then(() => scope.skipWaiting())),
  );
  scope.addEventListener('activate', (event) => event.waitUntil(dropOld(all, name).then(() => scope.clients.claim())));
  scope.addEventListener('fetch', (event) => {
    const { method, url, headers } = event.request;
    const isOurs = new URL(url).origin === location.origin || addresses.includes(url);
    // A part of a file, which a player asks for, is not what is kept.
    if (method === 'GET' && isOurs && !isApi(url) && !headers.has('range'))
      event.respondWith(answer(event.request, [name, all], at(page)));
  });
}

function isApi(url: string): boolean {
  const { pathname } = new URL(url);
  return pathname.startsWith('/v1/') || /\/v1\/spaces(\/|$)/.test(pathname);
}

/** Keeps all files, or none. */
async function install(name: string, addresses: readonly string[]): Promise<void> {
  const wasThere = await caches.has(name);
  try {
    const responses = await Promise.all(addresses.map(load));
    const cache = await caches.open(name);
    await Promise.all(responses.map((response, i) => cache.put(addresses[i] as string, response)));
  } catch (error) {
    if (!wasThere) await caches.delete(name);
    throw error;
  }
}

/** Asks the server whether what the browser has is still the file. */
async function load(address: string): Promise<Response> {
  const response = await fetch(address, { cache: 'no-cache' });
  // A portal that wants a login first answers for everybody.
  const isElsewhere = new URL(response.url).origin !== new URL(address).origin;
  if (!response.ok || isElsewhere) throw new Error(`${address} is answered ${response.status} by ${response.url}`);
  // Browsers show no page from a response that says it was redirected.
  return response.redirected ? new Response(response.body, { headers: response.headers }) : response;
}

/** The version before stays, for pages that are still open. */
async function dropOld(all: string, name: string): Promise<void> {
  const others = (await caches.keys()).filter((other) => other.startsWith(all) && other !== name);
  await Promise.all(others.slice(0, -1).map((other) => caches.delete(other)));
}

/** From this version, else from the one before, else from the network; a page that is nowhere is `page`. */
async function answer(request: Request, [name, all]: readonly [string, string], page: string): Promise<Response> {
  const cache = await caches.open(name);
  const kept = (await cache.match(request, MATCHING)) ?? (await inOlder(request, all));
  if (kept) return kept;
  return fetch(request).catch(async (error) => {
    const shell = request.mode === 'navigate' ? await cache.match(page, MATCHING) : undefined;
    if (!shell) throw error;
    return shell;
  });
}

async function inOlder(request: Request, all: string): Promise<Response | undefined> {
  for (const name of await caches.keys()) {
    const kept = name.startsWith(all) && (await (await caches.open(name)).match(request, MATCHING));
    if (kept) return kept;
  }
  return undefined;
}
