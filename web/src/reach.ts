// Whether the server can be reached, by what became of the last request: what a browser says of its network is about
// the network card.
import { signal } from "@preact/signals";

export const reached = signal(true);

export async function reach(input: RequestInfo | URL, init?: RequestInit): Promise<Response> {
  try {
    const answer = await fetch(input, init);
    reached.value = true;
    return answer;
  } catch (error) {
    if (!(error instanceof DOMException)) reached.value = false;
    throw error;
  }
}

// Back in the network: one small request tells whether that is so.
addEventListener("online", () => void reach("/api/v1/health").catch(() => undefined));
addEventListener("offline", () => void reach("/api/v1/health").catch(() => undefined));
