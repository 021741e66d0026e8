import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { useLocation } from "preact-iso";
import { choose, lang, t, type Text } from "../i18n";
import { reached } from "../reach";
import { tellLanguage } from "../session";
import { Icon, type IconName } from "./icons";


const TABS: [string, Text, IconName][] = [
  ["/", "nav.scan", "camera"],
  ["/ask", "nav.ask", "chat"],
  ["/rules", "nav.rules", "search"],
  ["/map", "nav.map", "pin"],
  ["/me", "nav.me", "user"],
];

export function Shell({ children }: { children: ComponentChildren }) {
  const { path, url } = useLocation();
  const bare = path.replace(/^\/en/, "") || "/";
  const here = (to: string) => (to === "/" ? bare === "/" || bare.startsWith("/guide") : bare === to || bare.startsWith(`${to}/`));
  const english = lang.value === "en";
  const localized = (to: string) => (english && to === "/rules" ? "/en/rules" : to);
  return (
    <>
      <a class="skip" href="#main">{t("skip")}</a>
      <header class="top">
        <a class="brand" href="/" aria-label={`${t("site")}, ${t("home")}`}>
          <Icon name="leaf" /> <b>{t("site")}</b>
        </a>
        <button type="button" class="quiet" lang={english ? "ko" : "en"} onClick={() => switchLanguage(url)}>
          <Icon name="globe" /> {t("lang.other")}
        </button>
      </header>
      {!reached.value && <p class="offline" role="status">{t("offline")}</p>}
      {children}
      <nav class="tabs" aria-label={t("nav")}>
        {TABS.map(([to, text, icon]) => (
          <a key={to} href={localized(to)} aria-current={here(to) ? "page" : undefined}>
            <Icon name={icon} />
            <span>{t(text)}</span>
          </a>
        ))}
      </nav>
    </>
  );
}

/** A page of the knowledge base has an address in each language; every other page has one in both. */
function switchLanguage(url: string): void {
  choose(lang.value === "en" ? "ko" : "en");
  void tellLanguage();
  const path = url.split("?")[0] ?? "/";
  if (/^(\/en)?\/rules/.test(path)) location.assign(path.startsWith("/en") ? path.slice(3) : `/en${path}`);
}

/** The main part of a page: its heading takes the focus where the page was reached by a link of the page before. */
export function Main({ title, lead, children, wide, hide }: { title: string; lead?: string; children?: ComponentChildren; wide?: boolean; hide?: boolean }) {
  useTitle(title);
  return (
    <main id="main" class={wide ? "wide" : undefined} tabIndex={-1}>
      <h1 class={hide ? "hidden" : undefined}>{title}</h1>
      {lead && <p class="lead">{lead}</p>}
      {children}
    </main>
  );
}

let shown = 0;
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = `${title} | ${t("site")}`;
  }, [title, lang.value]);
  useEffect(() => {
    if (shown++) document.getElementById("main")?.focus({ preventScroll: true });
  }, []);
}
