// The reminder of this browser, kept where the page and the service worker can both read it.
import type { Schemas } from "./api";

/** Cache with one entry: the storage that pages and workers share without a database. */
export const REMINDER = "eco2-reminder";
const AT = "/reminder";

type Wish = Schemas["ReminderWish"];
export type Kept = Pick<Wish, "public_key" | "district" | "area" | "collections" | "lang"> & { id: string };

/** Null where there is none, or the browser keeps nothing. */
export async function keptReminder(): Promise<Kept | null> {
  try {
    const found = await caches.match(AT, { cacheName: REMINDER });
    return found ? ((await found.json()) as Kept) : null;
  } catch {
    return null;
  }
}

export async function keepReminder(one: Kept | null): Promise<void> {
  try {
    if (one) await (await caches.open(REMINDER)).put(AT, new Response(JSON.stringify(one)));
    else await caches.delete(REMINDER);
  } catch {
    // Then only the page itself can renew it.
  }
}

/** What the server is told of a subscription. */
export function wishOf(subscription: PushSubscription, { id: _, ...wish }: Omit<Kept, "id"> & { id?: string }): Wish {
  return { ...wish, endpoint: subscription.endpoint, p256dh: text(subscription.getKey("p256dh")), auth: text(subscription.getKey("auth")) };
}

export function text(bytes: ArrayBuffer | null): string {
  return btoa(String.fromCharCode(...new Uint8Array(bytes ?? new ArrayBuffer(0)))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}
