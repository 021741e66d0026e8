// The API by the types of its OpenAPI document. Every call either gives its data or throws.
import createClient from "openapi-fetch";
import type { components, paths } from "./api.gen";
import { reach } from "./reach";
import { open, refusal, remember, reopen, SessionEnded } from "./session";

export type Schemas = components["schemas"];
type Answer<T> = { data?: T; response: Response };

const client = createClient<paths>({ baseUrl: "", fetch: (request) => reach(request) });
export const api = client;

/** A call that anyone may make. */
export async function publicly<T>(call: Promise<Answer<T>>): Promise<T> {
  const { data, response } = await call;
  if (!response.ok) throw await failure(response);
  return data as T;
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
  if (!answer.response.ok) throw await failure(answer.response);
  return answer.data as T;
}

/** openapi-fetch has read the body where it was JSON; what is left of the response is enough to say why. */
async function failure(response: Response): Promise<Error> {
  return refusal(response.bodyUsed ? new Response(null, { status: response.status, headers: response.headers }) : response);
}
