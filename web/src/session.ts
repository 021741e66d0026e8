// Who the page speaks for: nobody until it has to, then a guest, or who signed in.
import { signal } from "@preact/signals";
import { keep, kept } from "./kept";
import { lang } from "./i18n";
import { reach } from "./reach";

export type Role = "guest" | "citizen";
type Challenge = { challenge: string; difficulty: number; expires_in: number };

/** What the cookies are, as far as this browser remembers; they themselves cannot be read. */
export const role = signal<Role | null>(kept<Role>("role"));

export class SessionEnded extends Error {}
export class Busy extends Error {
  constructor(readonly wait: number, readonly code = "") {
    super(`wait ${wait} s`);
  }
}

export function remember(next: Role | null): void {
  role.value = next;
  keep("role", next);
}

let refreshing: Promise<boolean> | null = null;
let opening: Promise<void> | null = null;

/** What the server says to a refresh token that is worth nothing; after any other answer the session may well go on. */
const OVER = [400, 401, 404];

/** One refresh at a time, however many requests were refused: a refresh token counts once. False: the session is over. */
export function refresh(): Promise<boolean> {
  refreshing ??= reach("/api/v1/auth/refresh", { method: "POST" })
    .then(async (answer) => {
      if (!answer.ok && !OVER.includes(answer.status)) throw await refusal(answer);
      return answer.ok;
    })
    .finally(() => (refreshing = null));
  return refreshing;
}

/** Makes sure that there are cookies to send; a guest's where there are none. */
export function open(): Promise<void> {
  if (role.value) return Promise.resolve();
  opening ??= beGuest().finally(() => (opening = null));
  return opening;
}

/** After a request was refused: a fresh token, or a new guest. SessionEnded where somebody was signed in. */
export async function reopen(): Promise<void> {
  if (await refresh()) return;
  if (role.value === "citizen") {
    remember(null);
    throw new SessionEnded();
  }
  remember(null);
  await open();
}

async function beGuest(): Promise<void> {
  const asked = await reach("/api/v1/auth/guest/challenge", { method: "POST" });
  if (!asked.ok) throw await refusal(asked);
  const proof = await prove((await asked.json()) as Challenge);
  const made = await reach("/api/v1/auth/guest", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ proof }),
  });
  if (!made.ok) throw await refusal(made);
  const { role: who } = (await made.json()) as { role: string };
  remember(who === "guest" ? "guest" : "citizen"); // who was signed in stays so
}

/** Ends the session of the cookies, a guest's too. Throws where they may still be good for something. */
export async function signOut(): Promise<void> {
  const answer = await reach("/api/v1/auth/logout", { method: "POST" });
  if (!answer.ok) throw await refusal(answer);
  remember(null);
}

/** Guides are written in the language of the user, which the server knows from their preferences. */
export async function tellLanguage(): Promise<void> {
  if (role.value !== "citizen") return;
  await reach("/api/v1/users/me/preferences", {
    method: "PATCH",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ language: lang.value }),
  }).catch(() => undefined);
}

function prove(asked: Challenge): Promise<string> {
  const worker = new Worker(new URL("./proof.worker.ts", import.meta.url), { type: "module" });
  return new Promise<string>((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<string>) => resolve(data);
    worker.onerror = () => reject(new Error("the proof of work could not be made"));
    worker.postMessage(asked);
  }).finally(() => worker.terminate());
}

async function refusal(answer: Response): Promise<Error> {
  const { detail, code } = (await answer.json().catch(() => ({}))) as { detail?: string; code?: string };
  return refused(answer, code, detail);
}

/** The error that an answer means; a wait is one between a second and ten minutes. */
export function refused(answer: Response, code = "", detail = ""): Error {
  if (answer.status === 429 || answer.status === 503) {
    return new Busy(Math.min(600, Math.max(1, Number(answer.headers.get("retry-after")) || 5)), code);
  }
  return answer.status === 403 ? new SessionEnded() : new ApiError(answer.status, code, detail);
}

export class ApiError extends Error {
  constructor(readonly status: number, readonly code: string, detail: string) {
    super(detail);
  }
}
