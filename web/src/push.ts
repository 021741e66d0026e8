// What the browser has to do with reminders: whether it can be told, its subscription, and ending it.
import { text } from "./reminder";

export type Can = "yes" | "install" | "no";

/** iOS tells pages that are installed only; there the API is missing elsewhere. */
export function canBeTold(): Can {
  if ("PushManager" in window && "Notification" in window && navigator.serviceWorker) return "yes";
  const apple = /iP(hone|ad|od)/.test(navigator.userAgent) || (navigator.platform === "MacIntel" && navigator.maxTouchPoints > 1);
  return apple && !matchMedia("(display-mode: standalone)").matches ? "install" : "no";
}

/** The subscription there is; it does not wait for a service worker that never comes. */
export async function subscribed(): Promise<PushSubscription | null> {
  const worker = await navigator.serviceWorker.getRegistration();
  return worker ? worker.pushManager.getSubscription() : null;
}

/** Subscribes with the key. One that was made with another key ends first: a push service takes no message for it. */
export async function subscribe(publicKey: string): Promise<PushSubscription> {
  const worker = await navigator.serviceWorker.getRegistration();
  if (!worker) throw new DOMException("the browser keeps no service worker");
  const { pushManager } = worker;
  const before = await pushManager.getSubscription();
  if (before && keyOf(before) !== publicKey) await before.unsubscribe();
  return pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: publicKey });
}

/** The key of ours that it was made with. */
export function keyOf(subscription: PushSubscription): string {
  return text(subscription.options.applicationServerKey);
}

/** The id of its reminder, as the server makes it. */
export async function idOf(subscription: PushSubscription): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(subscription.endpoint)));
  return Array.from(digest.subarray(0, 16), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
