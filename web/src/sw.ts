// Without a connection: the page itself, what was looked up, and what was shown before.
/// <reference lib="webworker" />
export {};
declare const self: ServiceWorkerGlobalScope;

const BUILD = "eco2-__BUILD__";
const KEPT: string[] = JSON.parse("__KEPT__") as string[];
const SEEN = "eco2-seen";
const MOST_SEEN = 200;
const SHELL = "/";
/** Public texts of the knowledge base; nothing of a person is ever kept here. */
const LOOKED_UP = /^(\/en)?\/rules(\/|$)|^\/api\/v1\/recycling\/(items|search|streams|rules|situations|regions)/;

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(BUILD).then((cache) => cache.addAll([SHELL, "/rules", "/icon.svg", ...KEPT])).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  const old = (name: string) => name.startsWith("eco2-") && name !== BUILD && name !== SEEN;
  event.waitUntil(
    caches
      .keys()
      .then((names) => Promise.all(names.filter(old).map((name) => caches.delete(name))))
      .then(() => self.clients.claim()),
  );
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== location.origin) return;
  if (url.pathname.startsWith("/assets/")) event.respondWith(caches.match(request).then((found) => found ?? fetch(request)));
  else if (LOOKED_UP.test(url.pathname)) event.respondWith(fresh(request, url));
  else if (request.mode === "navigate") event.respondWith(fetch(request).catch(() => shell()));
});

async function fresh(request: Request, url: URL): Promise<Response> {
  try {
    const answer = await fetch(request);
    if (answer.ok) await note(request, answer.clone());
    return answer;
  } catch (error) {
    const found = await caches.match(request, { ignoreVary: true });
    if (found) return found;
    if (request.mode === "navigate" && /^(\/en)?\/rules/.test(url.pathname)) return shell();
    throw error;
  }
}

async function note(request: Request, answer: Response): Promise<void> {
  const cache = await caches.open(SEEN);
  await cache.put(request, answer);
  const all = await cache.keys();
  if (all.length > MOST_SEEN) await Promise.all(all.slice(0, all.length - MOST_SEEN).map((one) => cache.delete(one)));
}

async function shell(): Promise<Response> {
  return (await caches.match(SHELL, { ignoreVary: true })) ?? Response.error();
}
