// The language of the page: Korean, or English where somebody asked for it.
import { effect, signal } from "@preact/signals";
import { kept, keep } from "./kept";
import { TEXTS } from "./texts";
import { MORE_TEXTS } from "./texts-more";

export type Lang = "ko" | "en";
const ALL = { ...TEXTS, ...MORE_TEXTS };
export type Text = keyof typeof ALL;

const chosen = (): Lang => {
  if (/^\/en\//.test(location.pathname)) return "en";
  if (/^\/rules\//.test(location.pathname)) return "ko";
  const saved = kept<Lang>("lang");
  if (saved === "ko" || saved === "en") return saved;
  return navigator.languages.some((name) => name.startsWith("ko")) || !navigator.language.startsWith("en") ? "ko" : "en";
};

export const lang = signal<Lang>(chosen());
effect(() => {
  document.documentElement.lang = lang.value;
});

export function choose(next: Lang): void {
  keep("lang", next);
  lang.value = next;
}

/** The text of a name that the server gives; nothing where it is new to the page. */
export function named(prefix: "map.set" | "licence" | "days.what", name: string | null | undefined): string {
  const key = `${prefix}.${name ?? ""}`;
  return key in ALL ? t(key as Text) : "";
}

export function t(key: Text, ...values: (string | number)[]): string {
  const text = ALL[key][lang.value === "en" ? 1 : 0];
  return values.reduce<string>((line, value, n) => line.replace(`{${n}}`, String(value)), text);
}
