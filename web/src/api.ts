// The API by the types of its OpenAPI document. Every call either gives its data or throws.
import createClient from "openapi-fetch";
import type { components, paths } from "./api.gen";
import { reach } from "./reach";
import { open, refresh, refused, remember, reopen, SessionEnded } from "./session";

export type Schemas = components["schemas"];
type Answer<T> = { data?: T; error?: unknown; response: Response };

const client = createClient<paths>({ baseUrl: "", fetch: (request) => reach(request) });
export const api = client;

/** A call that anyone may make. */
export async function publicly<T>(call: Promise<Answer<T>>): Promise<T> {
  const answer = await call;
  if (!answer.response.ok) throw failure(answer);
  return answer.data as T;
}

/** A call that needs a session: opens one, and once more where the old one is over. */
export async function authed<T>(call: () => Promise<Answer<T>>): Promise<T> {
  await open();
  let answer = await call();
  if (answer.response.status === 401) {
    await reopen();
    answer = await call();
  }
  if (answer.response.status === 403) {
    remember(null);
    throw new SessionEnded();
  }
  if (!answer.response.ok) throw failure(answer);
  return answer.data as T;
}

/** Asks the server who the cookies are of; no address can say it. */
export async function identify(): Promise<void> {
  const asked = () => client.GET("/api/v1/users/me");
  let answer = await asked();
  if (answer.response.status === 401 && (await refresh())) answer = await asked();
  if (answer.data) remember(answer.data.role === "guest" ? "guest" : "citizen");
  else if (answer.response.status === 401 || answer.response.status === 403) remember(null);
  else throw failure(answer);
}

function failure({ error, response }: Answer<unknown>): Error {
  const { detail, code } = (error ?? {}) as { detail?: string; code?: string };
  if (code === "GUEST_NOT_ALLOWED") remember("guest");
  return refused(response, code, detail);
}
