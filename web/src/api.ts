// The API by the types of its OpenAPI document. Every call either gives its data or throws.
import createClient from "openapi-fetch";
import type { components, paths } from "./api.gen";
import { reach } from "./reach";
import { open, refused, remember, reopen, SessionEnded } from "./session";

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

function failure({ error, response }: Answer<unknown>): Error {
  const { detail, code } = (error ?? {}) as { detail?: string; code?: string };
  return refused(response, code, detail);
}
