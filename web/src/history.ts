// Guides that this browser has shown, so that they open without a connection too.
import { signal } from "@preact/signals";
import type { Schemas } from "./api";
import { keep, kept } from "./kept";

export type Result = Schemas["ScanResult"];
export type Past = { id: string; at: number; name: string; stream: string; kind: string; thumb: string | null; result: Result };

const LONGEST = 20;
export const past = signal<Past[]>(kept<Past[]>("past") ?? []);

export function remembered(id: string): Past | undefined {
  return past.value.find((one) => one.id === id);
}

export function rememberGuide(entry: Past): void {
  past.value = [entry, ...past.value.filter((one) => one.id !== entry.id)].slice(0, LONGEST);
  keep("past", past.value);
}

export function forgetGuide(id: string): void {
  past.value = past.value.filter((one) => one.id !== id);
  keep("past", past.value);
}

/** A small picture of a photo, some 3 kB. */
export async function thumbnail(photo: Blob): Promise<string | null> {
  try {
    const drawn = await createImageBitmap(photo);
    const side = Math.min(drawn.width, drawn.height);
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 112;
    canvas.getContext("2d")?.drawImage(drawn, (drawn.width - side) / 2, (drawn.height - side) / 2, side, side, 0, 0, 112, 112);
    drawn.close();
    return canvas.toDataURL("image/jpeg", 0.7);
  } catch {
    return null;
  }
}
