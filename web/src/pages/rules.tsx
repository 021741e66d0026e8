import { useEffect, useRef, useState } from "preact/hooks";
import { ErrorBoundary, lazy, useLocation } from "preact-iso";
import { api, publicly } from "../api";
import { lang, t } from "../i18n";
import { reach } from "../reach";
import { described, type Problem } from "../scan";
import { KIND_ICON, Icon } from "../ui/icons";
import { Main, useTitle } from "../ui/layout";
import { ProblemCard } from "../ui/problem";

/** Nothing where it cannot be loaded: the rules stand without it. */
const WhereOf = lazy(() => import("./guide-where").then((part) => part.WhereOf, () => () => null));
type Row = { id: string; name: string; stream: string };

const served = document.querySelector<HTMLElement>("#app article[data-page]");

/** The text that the server writes for an address: what came with this page, or fetched. */
export async function articleOf(path: string): Promise<{ article: HTMLElement; title: string } | null> {
  if (served?.dataset.page === path) return { article: served.cloneNode(true) as HTMLElement, title: document.title.split(" | ")[0]! };
  const answer = await reach(path, { headers: { accept: "text/html" } });
  if (answer.status === 404) return null;
  if (!answer.ok) throw new TypeError(String(answer.status));
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const [outer] = page.querySelectorAll<HTMLElement>("article[data-page]");
  // Without a connection the service worker answers with the rules of all items.
  const article = outer?.dataset.page === path ? outer : page.querySelector<HTMLElement>(`article[data-page="${CSS.escape(path)}"]`);
  const title = article === outer ? page.title.split(" | ")[0] : article?.querySelector("h1")?.textContent;
  return article && { article: document.importNode(article, true), title: title ?? "" };
}

/** Items whose name has the word, from the list that this browser keeps. */
async function keptItems(base: string, word: string): Promise<Row[]> {
  const plain = (text: string): string => text.replaceAll(" ", "").toLowerCase();
  const list = await articleOf(base);
  return [...(list?.article.querySelectorAll("a") ?? [])]
    .filter((link) => plain(link.textContent).includes(plain(word)))
    .slice(0, 20)
    .map((link) => ({ id: link.pathname.split("/").at(-1)!, name: link.textContent, stream: "" }));
}

export function Rules() {
  const { path, query } = useLocation();
  const [word, setWord] = useState(query.q ?? "");
  const [found, setFound] = useState<Row[] | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const base = lang.value === "en" ? "/en/rules" : "/rules";

  useEffect(() => {
    const typed = word.trim();
    if (!typed) return void setFound(null);
    let over = false;
    const timer = setTimeout(() => {
      publicly(api.GET("/api/v1/recycling/search", { params: { query: { q: typed, limit: 20 } } }))
        .then((rows) => rows.map((one) => ({ id: one.id, name: lang.value === "en" ? one.name_en : one.name, stream: one.stream_name })))
        .catch(async (error: unknown) => {
          if (described(error).kind !== "offline") throw error;
          return keptItems(base, typed);
        })
        .then((rows) => !over && (setFound(rows), setProblem(null)))
        .catch((error: unknown) => !over && setProblem(described(error)));
    }, 150);
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [word]);

  return (
    <Main title={t("rules.title")} lead={t("rules.lead")}>
      <form class="search" role="search" onSubmit={(event) => event.preventDefault()}>
        <label class="hidden" for="q">{t("rules.search")}</label>
        <div class="field">
          <input id="q" type="search" value={word} placeholder={t("home.byname.hint")} autocomplete="off" enterkeyhint="search" onInput={(event) => setWord(event.currentTarget.value)} />
        </div>
      </form>
      <p class="hidden" role="status">{found && t("rules.found", found.length)}</p>
      {problem && <ProblemCard problem={problem} again={() => setWord(`${word} `)} />}
      {found?.length === 0 && (
        <p class="empty">{t("rules.none", word.trim())} <a href={`/ask?q=${encodeURIComponent(word.trim())}`}>{t("rules.ask")}</a></p>
      )}
      {found && found.length > 0 ? (
        <ul class="rows">
          {found.map((one) => (
            <li key={one.id}>
              <a href={`${base}/${one.id}`}>
                <span><b>{one.name}</b><small>{one.stream}</small></span>
                <Icon name="next" />
              </a>
            </li>
          ))}
        </ul>
      ) : (
        !found && <Served path={path.startsWith("/en") ? "/en/rules" : "/rules"} />
      )}
    </Main>
  );
}

export function Rule() {
  const { path } = useLocation();
  return (
    <main id="main" tabIndex={-1}>
      <Served path={path} titled />
      <ErrorBoundary><WhereOf key={path} id={path.split("/").at(-1) ?? ""} /></ErrorBoundary>
      <div class="actions foot"><a class="button secondary" href="/"><Icon name="camera" /> {t("rules.scan")}</a></div>
    </main>
  );
}

/** Shows what the server wrote. */
export function Served({ path, titled }: { path: string; titled?: boolean }) {
  const place = useRef<HTMLDivElement>(null);
  const [state, setState] = useState<"loading" | "shown" | "missing" | Problem>("loading");
  const [title, setTitle] = useState(t("rules.title"));
  const show = () => {
    setState("loading");
    articleOf(path)
      .then((found) => {
        if (!found) return setState("missing");
        place.current?.replaceChildren(found.article);
        if (titled) setTitle(found.title);
        setState("shown");
      })
      .catch((error: unknown) => setState(described(error)));
  };
  useEffect(show, [path]);
  return (
    <>
      {titled && <Title text={title} />}
      {state === "loading" && <p class="loading" role="status">{t("loading")}</p>}
      {state === "missing" && <><h1>{t("missing.title")}</h1><p>{t("missing.lead")} <a href="/rules">{t("rules.title")}</a></p></>}
      {typeof state === "object" && <ProblemCard problem={state} again={show} />}
      <div ref={place} />
    </>
  );
}

function Title({ text }: { text: string }) {
  useTitle(text);
  return null;
}

/** Its sign and words for a kind of stream. */
export function StreamBadge({ kind, name, label }: { kind: string; name: string; label?: string }) {
  return (
    <p class={`stream stream-${kind}`}>
      <Icon name={KIND_ICON[kind] ?? "recycle"} />
      <span>{label ?? t("guide.goes")}</span> <b>{name}</b>
    </p>
  );
}
