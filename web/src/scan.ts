// From a photo to a job, and from a job to its guide.
import { signal } from "@preact/signals";
import { api, authed, type Schemas } from "./api";
import { NoPhoto, prepared } from "./photo";
import { ApiError, Busy, open, SessionEnded } from "./session";
import { thumbnail } from "./history";
import { lang } from "./i18n";
import { reach, reached } from "./reach";

export type Stage = "preparing" | "session" | "uploading" | "queued" | "vision" | "rule" | "answer" | "reward";
export type Problem = { kind: "offline" | "upload" | "photo" | "busy" | "session" | "other"; wait?: number; detail?: string };
type Result = Schemas["ScanResult"];
type Event = Schemas["JobEvent"];

/** The photo in hand, so that a failed try can be repeated and the guide can show it. */
export const photo = signal<{ blob: Blob; url: string; thumb: string | null; job: string | null } | null>(null);
export const sending = signal<Stage | null>(null);
export const problem = signal<Problem | null>(null);
export const LIVE: Stage[] = ["uploading", "vision", "rule", "answer"];

class UploadFailed extends Error {}
/** Stops the try under way; another one begins with another. */
let current = new AbortController();

export function reset(): void {
  current.abort();
  sending.value = problem.value = null;
}

/** The id of the new job; null where it failed (`problem` says how) or was stopped. */
export async function submit(file: Blob): Promise<string | null> {
  current.abort();
  current = new AbortController();
  const { signal: stopped } = current;
  problem.value = null;
  try {
    sending.value = "preparing";
    const blob = await prepared(file);
    const thumb = await thumbnail(blob);
    stopped.throwIfAborted();
    if (photo.value) URL.revokeObjectURL(photo.value.url);
    photo.value = { blob, url: URL.createObjectURL(blob), thumb, job: null };
    return await send(blob, stopped);
  } catch (error) {
    if (!stopped.aborted) problem.value = described(error);
    return null;
  } finally {
    if (!stopped.aborted) sending.value = null;
  }
}

/** Once more with the photo in hand. */
export async function resend(): Promise<string | null> {
  return photo.value ? submit(photo.value.blob) : null;
}

async function send(blob: Blob, stopped: AbortSignal): Promise<string | null> {
  sending.value = "session";
  await open();
  stopped.throwIfAborted();
  sending.value = "uploading";
  const ticket = await upload(blob, "scan", stopped);
  // The key makes a repeated request the same scan, should the answer to the first be lost.
  const params = { header: { "x-idempotency-key": ticket.key } };
  const job = await authed(() => api.POST("/api/v1/scan", { params, body: { image_url: ticket.cdn_url, language: lang.value } }));
  stopped.throwIfAborted();
  if (photo.value) photo.value = { ...photo.value, job: job.job_id };
  return job.job_id;
}

/** Sends a photo to the object store; what refers to it names its ticket. */
export async function upload(blob: Blob, channel: "scan" | "chat", stopped: AbortSignal): Promise<Schemas["UploadTicket"]> {
  const content_type = blob.type || "application/octet-stream";
  const ticket = await authed(() =>
    api.POST("/api/v1/images/{channel}", { params: { path: { channel } }, body: { filename: "photo.jpg", content_type } }),
  );
  stopped.throwIfAborted();
  const headers = { "Content-Type": content_type };
  const put = await reach(ticket.upload_url, { method: "PUT", body: blob, headers, credentials: "omit", signal: stopped }).catch(() => null);
  stopped.throwIfAborted();
  if (!put?.ok) throw new UploadFailed();
  return ticket;
}

export function described(error: unknown): Problem {
  if (error instanceof NoPhoto) return { kind: "photo" };
  if (error instanceof Busy) return { kind: "busy", wait: error.wait };
  if (error instanceof SessionEnded) return { kind: "session" };
  if (error instanceof UploadFailed) return { kind: reached.value ? "upload" : "offline" };
  if (error instanceof ApiError) return { kind: "other", detail: error.message };
  return { kind: reached.value ? "upload" : "offline" };
}

export type Follower = { stage(stage: Stage): void; connected(is: boolean): void; result(result: Result): void; gone(): void; failed(p: Problem): void };

/** Failures of the server in a row after which the page stops asking it. */
const MOST_TRIES = 6;
/** Refusals that another try can end. */
const PASSING = [408, 425, 429];

/** Follow a job until its result; the browser resumes a lost stream by Last-Event-ID itself. Returns how to stop. */
export function follow(job: string, told: Follower): () => void {
  let over = false;
  let stream: EventSource | null = null;
  let timer = 0;
  let tries = 0;
  const stop = () => {
    over = true;
    stream?.close();
    clearTimeout(timer);
  };
  const ask = async (): Promise<void> => {
    try {
      const found = await result(job);
      if (over) return;
      tries = 0;
      if (found === null) listen();
      else {
        stop();
        told.result(found);
      }
    } catch (error) {
      if (over) return;
      const answered = error instanceof ApiError || error instanceof Busy;
      if (error instanceof ApiError && error.status >= 400 && error.status < 500 && !PASSING.includes(error.status)) {
        stop();
        told.gone();
      } else if (error instanceof SessionEnded || (answered && ++tries >= MOST_TRIES)) {
        stop();
        told.failed(described(error));
      } else {
        told.connected(false);
        const wait = error instanceof Busy ? error.wait : 2 ** Math.max(1, tries); // a lost connection: every 2 s
        timer = window.setTimeout(() => void ask(), wait * 1000);
      }
    }
  };
  const listen = (): void => {
    stream = new EventSource(`/api/v1/scan/${job}/events`);
    stream.onopen = () => told.connected(true);
    stream.onerror = () => {
      told.connected(false);
      if (stream?.readyState !== EventSource.CLOSED || over) return;
      timer = window.setTimeout(() => void ask(), 2000);
    };
    for (const stage of ["queued", "vision", "rule", "answer", "reward"] as const) {
      stream.addEventListener(stage, (message: MessageEvent<string>) => {
        const event = JSON.parse(message.data) as Event;
        if (event.status === "started") told.stage(stage);
      });
    }
    stream.addEventListener("done", () => {
      stream?.close();
      void ask();
    });
  };
  void ask();
  return stop;
}

/** The result; null while there is none. */
async function result(job: string): Promise<Result | null> {
  const answer = await authed(() => api.GET("/api/v1/scan/{job_id}/result", { params: { path: { job_id: job } } }));
  return answer.status === "processing" ? null : (answer as Result);
}
