// Without a connection: the page itself, what was looked up, and what was shown before.
/// <reference lib="webworker" />
import { keepReminder, keptReminder, REMINDER, wishOf } from "./reminder";
declare const self: ServiceWorkerGlobalScope;

const BUILD = "eco2-__BUILD__";
const KEPT: string[] = JSON.parse("__KEPT__") as string[];
const SEEN = "eco2-seen";
/** The rules of every item, in one document for each language: what nobody has looked up yet opens from it. */
const RULES = "eco2-rules";
const MOST_SEEN = 200;
const SHELL = "/";
/** Public texts of the knowledge base; nothing of a person is ever kept here. */
const LOOKED_UP = /^(\/en)?\/rules(\/|$)|^\/api\/v1\/recycling\/(items|search|streams|rules|situations|regions)/;

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(BUILD).then((cache) => cache.addAll([SHELL, "/rules", "/icon.svg", ...KEPT])).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  const other = (name: string) => name.startsWith("eco2-") && ![BUILD, SEEN, RULES, REMINDER].includes(name);
  event.waitUntil(
    caches
      .keys()
      // In the order in which they were made: the last is the build before this one, which open tabs still show.
      .then((names) => Promise.all(names.filter(other).slice(0, -1).map((name) => caches.delete(name))))
      .then(() => self.clients.claim()),
  );
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== location.origin) return;
  if (url.pathname.startsWith("/assets/")) event.respondWith(kept(request).then((found) => found ?? fetch(request)));
  else if (LOOKED_UP.test(url.pathname)) event.respondWith(fresh(event, url));
  else if (request.mode === "navigate") event.respondWith(fetch(request).catch(() => shell()));
});

self.addEventListener("message", (event) => {
  const { keep } = event.data as { keep?: string };
  if (keep && copyFor(keep) === keep) event.waitUntil(copy(keep).catch(() => undefined));
});

/** What a reminder says; it is shown whatever it says, as browsers demand of every push. */
type Told = { title?: string; body?: string; tag?: string; lang?: string; url?: string };

self.addEventListener("push", (event) => {
  const told = saidBy(event.data);
  const options = { body: told.body, tag: told.tag, lang: told.lang, icon: "/icon-192.png", badge: "/icon-192.png", data: told.url };
  event.waitUntil(self.registration.showNotification(told.title ?? "Eco²", options));
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const path = new URL(String(event.notification.data ?? "/calendar"), location.origin);
  if (path.origin === location.origin) event.waitUntil(show(path.pathname));
});

// The browser, or its push service, has put another subscription in the place of the old one.
self.addEventListener("pushsubscriptionchange", (event) => event.waitUntil(renew(event.newSubscription)));

const REMINDERS = "/api/v1/users/me/reminders";

/** Tells the server, in the words of before. Where that fails, the page says so when it is opened next. */
async function renew(fresh?: PushSubscription | null): Promise<void> {
  const kept = await keptReminder();
  if (!kept) return;
  const subscription = fresh ?? (await self.registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: kept.public_key }));
  const answer = await asMember(REMINDERS, "PUT", JSON.stringify(wishOf(subscription, kept)));
  if (!answer.ok) return;
  const { id } = (await answer.json()) as { id: string };
  await keepReminder({ ...kept, id });
  if (id !== kept.id) await asMember(`${REMINDERS}/${kept.id}`, "DELETE");
}

/** With a fresh token where the old one is over: nobody may have opened the page for days. */
async function asMember(path: string, method: string, body?: string): Promise<Response> {
  const ask = () => fetch(path, { method, body, headers: body ? { "content-type": "application/json" } : {} });
  const answer = await ask();
  return answer.status === 401 && (await fetch("/api/v1/auth/refresh", { method: "POST" })).ok ? ask() : answer;
}

function saidBy(data: PushMessageData | null): Told {
  try {
    return (data?.json() ?? {}) as Told;
  } catch {
    return {};
  }
}

/** In a tab that shows the page already, else in a new one. */
async function show(path: string): Promise<void> {
  const tabs = await self.clients.matchAll({ type: "window" });
  const tab = tabs.find((one) => new URL(one.url).pathname === path);
  await (tab ? tab.focus() : self.clients.openWindow(path));
}

/** The address of the copy that has a page of the rules; null for other pages. */
function copyFor(path: string): string | null {
  return /^(\/en)?\/rules\/./.test(path) ? path.replace(/[^/]+$/, "all") : null;
}

async function copy(path: string): Promise<void> {
  const answer = await fetch(path);
  if (answer.ok) await (await caches.open(RULES)).put(path, answer);
}

async function fresh(event: FetchEvent, url: URL): Promise<Response> {
  const { request } = event;
  let answer: Response;
  try {
    answer = await fetch(request);
  } catch (error) {
    const found = (await kept(request, SEEN)) ?? (await kept(request, BUILD));
    if (found) return found;
    if (request.mode === "navigate" && /^(\/en)?\/rules/.test(url.pathname)) return shell();
    const within = copyFor(url.pathname);
    const whole = within && (await kept(within, RULES));
    if (whole) return whole;
    throw error;
  }
  if (answer.ok) event.waitUntil(note(request, answer.clone()).catch(() => undefined));
  return answer;
}

/** Nothing where the browser's storage fails. */
function kept(request: Request | string, cacheName?: string): Promise<Response | undefined> {
  return caches.match(request, { cacheName, ignoreVary: true }).catch(() => undefined);
}

async function note(request: Request, answer: Response): Promise<void> {
  const cache = await caches.open(SEEN);
  await cache.put(request, answer);
  const all = await cache.keys();
  if (all.length > MOST_SEEN) await Promise.all(all.slice(0, all.length - MOST_SEEN).map((one) => cache.delete(one)));
}

async function shell(): Promise<Response> {
  return (await kept(SHELL, BUILD)) ?? Response.error();
}
