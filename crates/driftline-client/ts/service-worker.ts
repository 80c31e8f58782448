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
  /**
   * What files have to be, by their addresses as in `files`: `sha256-…`, as a script's `integrity` is. A file that is not what this version was
   * built with is one of another version, which a deployment under way still has or has already: the version before goes on.
   */
  readonly integrity?: Readonly<Record<string, string>>;
  /** The page that is shown for addresses that are not among the files while there is no network; `./` if left out. */
  readonly page?: string;
}

/** What is used of the worker's global scope, which the types of pages do not know. */
interface Scope {
  readonly registration: { readonly scope: string };
  readonly clients: Clients;
  skipWaiting(): Promise<void>;
  addEventListener(type: 'install' | 'activate', listener: (event: Lifecycle) => void): void;
  addEventListener(type: 'fetch', listener: (event: Fetching) => void): void;
}
interface Clients {
  claim(): Promise<void>;
  matchAll(options: { includeUncontrolled: true }): Promise<readonly { readonly id: string }[]>;
}
interface Lifecycle {
  waitUntil(done: Promise<unknown>): void;
}
interface Fetching extends Lifecycle {
  readonly request: Request;
  /** Who asks; empty where that is a page that is only being loaded. */
  readonly clientId: string;
  /** Who there is once the answer is shown: a page, or a worker. */
  readonly resultingClientId?: string;
  respondWith(response: Promise<Response>): void;
}

/** Where the files are kept: a cache for each version, and one that tells which version an open page is of. */
interface Site {
  readonly version: string;
  readonly versions: string;
  readonly pages: string;
  readonly page: string;
}

const FILE_TYPE = /\.(\w+)$/;
const ENGINE = './driftline_client_bg.wasm';
/** A page is the same whatever its query, and what was fetched by the worker serves the page whatever headers it sends. */
const MATCHING = { ignoreSearch: true, ignoreVary: true };

/**
 * To be called at once when the worker starts. All files are kept before a version takes over; where one of them cannot be had, the version
 * before goes on. A version takes over when it is complete, and a page that is open then still finds what its own version had.
 */
export function precache({ version, files, integrity = {}, page = './' }: PrecacheOptions): void {
  const scope = globalThis as unknown as Scope;
  if (!scope.registration?.scope) throw new TypeError('precache() is for service workers');
  const at = (file: string) => new URL(file, scope.registration.scope).href;
  const hasEngine = files.some((file) => new URL(at(file)).pathname.endsWith('.wasm'));
  const addresses = [...new Set([page, ...files, ...(hasEngine ? [] : [ENGINE])].map(at))];
  const api = addresses.find(isApi);
  if (api) throw new TypeError(`${api} is the server's: it is never answered from a cache`);
  const hashes = new Map(Object.entries(integrity).map(([file, hash]) => [at(file), hash]));
  const versions = `driftline/files/${scope.registration.scope} `;
  const pages = `driftline/pages/${scope.registration.scope}`;
  const site: Site = { version: versions + version, versions, pages, page: at(page) };

  scope.addEventListener('install', (event) =>
    event.waitUntil(install(site.version, addresses, hashes).then(() => scope.skipWaiting())),
  );
  scope.addEventListener('activate', (event) =>
    event.waitUntil(takeOver(site, scope.clients).then(() => scope.clients.claim())),
  );
  scope.addEventListener('fetch', (event) => {
    const { method, url, headers } = event.request;
    const isOurs = new URL(url).origin === location.origin || addresses.includes(url);
    // A part of a file, which a player asks for, is not what is kept.
    if (method === 'GET' && isOurs && !isApi(url) && !headers.has('range')) event.respondWith(answer(event, site));
  });
}

function isApi(url: string): boolean {
  const { pathname } = new URL(url);
  return pathname.startsWith('/v1/') || /\/v1\/spaces(\/|$)/.test(pathname);
}

/** Keeps all files, or none. */
async function install(name: string, addresses: readonly string[], hashes: Map<string, string>): Promise<void> {
  const wasThere = await caches.has(name);
  try {
    const responses = await Promise.all(addresses.map((address) => load(address, hashes.get(address))));
    const cache = await caches.open(name);
    await Promise.all(responses.map((response, i) => cache.put(addresses[i] as string, response)));
  } catch (error) {
    if (!wasThere) await caches.delete(name);
    throw error;
  }
}

/** Asks the server whether what the browser has is still the file. */
async function load(address: string, integrity: string | undefined): Promise<Response> {
  const response = await fetch(address, { cache: 'no-cache', ...(integrity === undefined ? {} : { integrity }) });
  // A portal that wants a login first answers for everybody.
  const isElsewhere = new URL(response.url).origin !== new URL(address).origin;
  if (!response.ok || isElsewhere || isPageInstead(address, response))
    throw new Error(`${address} is answered ${response.status} by ${response.url}`);
  // Browsers show no page from a response that says it was redirected.
  return response.redirected ? new Response(response.body, { headers: response.headers }) : response;
}

/** Many hosts give the app's page in place of a file that they do not have. */
function isPageInstead(address: string, { headers }: Response): boolean {
  const [, type] = FILE_TYPE.exec(new URL(address).pathname) ?? [];
  const isPage = headers.get('content-type')?.startsWith('text/html') ?? false;
  return isPage && type !== undefined && !/^html?$/.test(type);
}

/** Versions, the oldest first, without this one. */
async function others({ version, versions }: Site): Promise<string[]> {
  return (await caches.keys()).filter((name) => name.startsWith(versions) && name !== version);
}

/** Pages that were there before the first worker are of its version. */
async function takeOver(site: Site, clients: Clients): Promise<void> {
  const old = await others(site);
  if (old.length > 0) return await dropOld(old, site, clients);
  const open = await clients.matchAll({ includeUncontrolled: true });
  await Promise.all(open.map(({ id }) => remember(id, site.version, site)));
}

/** The version before stays, and whatever an open page is of. What is remembered of pages goes with their version. */
async function dropOld(old: readonly string[], site: Site, clients: Clients): Promise<void> {
  const open = await clients.matchAll({ includeUncontrolled: true });
  const inUse = await Promise.all(open.map(({ id }) => versionOf(id, site)));
  const unused = old.slice(0, -1).filter((name) => !inUse.includes(name));
  await Promise.all(unused.map((name) => caches.delete(name)));
  const pages = await caches.open(site.pages);
  for (const request of await pages.keys()) {
    const name = (await (await pages.match(request))?.text()) ?? '';
    if (unused.includes(name)) await pages.delete(request);
  }
}

/** From the version that the page is of, else from this one or another, else from the network; a page that is nowhere is `site.page`. */
async function answer(event: Fetching, site: Site): Promise<Response> {
  const { request } = event;
  const own = request.mode === 'navigate' ? undefined : await versionOf(event.clientId, site);
  for (const name of [...(own ? [own] : []), site.version, ...(await others(site)).reverse()]) {
    const kept = await caches.match(request, { ...MATCHING, cacheName: name });
    if (!kept) continue;
    event.waitUntil(remember(event.resultingClientId, name, site));
    return kept;
  }
  return fetch(request).catch(async (error) => {
    const options = { ...MATCHING, cacheName: site.version };
    const shell = request.mode === 'navigate' ? await caches.match(site.page, options) : undefined;
    if (!shell) throw error;
    event.waitUntil(remember(event.resultingClientId, site.version, site));
    return shell;
  });
}

/** Kept on disk, since browsers end workers that have nothing to do, and pages stay open for days. */
async function remember(client: string | undefined, name: string, { pages }: Site): Promise<void> {
  if (client) await (await caches.open(pages)).put(keyOf(client), new Response(name));
}

async function versionOf(client: string, { pages }: Site): Promise<string | undefined> {
  return client ? (await caches.match(keyOf(client), { cacheName: pages }))?.text() : undefined;
}

const keyOf = (client: string) => `/${encodeURIComponent(client)}`;
