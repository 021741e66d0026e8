import { keepReminder } from "./reminder";

// What this browser keeps for itself. A browser that keeps nothing (private windows, full storage) still works.
const PREFIX = "eco2.";

export function kept<T>(name: string): T | null {
  try {
    const text = localStorage.getItem(PREFIX + name);
    return text === null ? null : (JSON.parse(text) as T);
  } catch {
    return null;
  }
}

export function keep(name: string, value: unknown): void {
  try {
    if (value === null) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // Nothing depends on it.
  }
}

/** The service worker's copies of what was looked up. */
const SEEN = "eco2-seen";

export async function forgetAll(): Promise<void> {
  try {
    for (const name of Object.keys(localStorage)) if (name.startsWith(PREFIX)) localStorage.removeItem(name);
    await caches.delete(SEEN);
  } catch {
    // A browser that keeps nothing has nothing to forget.
  }
  await endReminder();
}

/** Without its subscription: the push service tells the server that it is gone, which forgets the reminder. */
export async function endReminder(): Promise<void> {
  await keepReminder(null);
  try {
    const worker = await navigator.serviceWorker.getRegistration();
    await (await worker?.pushManager.getSubscription())?.unsubscribe();
  } catch {
    // A browser that cannot be reminded has none.
  }
}
