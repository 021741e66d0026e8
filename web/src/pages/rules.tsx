import { useEffect, useRef, useState } from "preact/hooks";
import { useLocation } from "preact-iso";
import { api, publicly, type Schemas } from "../api";
import { lang, t } from "../i18n";
import { reach } from "../reach";
import { described, type Problem } from "../scan";
import { KIND_ICON, Icon } from "../ui/icons";
import { Main, useTitle } from "../ui/layout";
import { ProblemCard } from "../ui/problem";

type Found = Schemas["ItemSummary"];

const served = document.querySelector<HTMLElement>("#app article[data-page]");

/** The text that the server writes for an address: what came with this page, or fetched. */
export async function articleOf(path: string): Promise<{ article: HTMLElement; title: string } | null> {
  if (served?.dataset.page === path) return { article: served.cloneNode(true) as HTMLElement, title: document.title.split(" | ")[0]! };
  const answer = await reach(path, { headers: { accept: "text/html" } });
  if (answer.status === 404) return null;
  if (!answer.ok) throw new TypeError(String(answer.status));
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const article = page.querySelector<HTMLElement>("article[data-page]");
  return article && { article: document.importNode(article, true), title: page.title.split(" | ")[0]! };
}

export function Rules() {
  const { path, query } = useLocation();
  const [word, setWord] = useState(query.q ?? "");
  const [found, setFound] = useState<Found[] | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const base = lang.value === "en" ? "/en/rules" : "/rules";

  useEffect(() => {
    const typed = word.trim();
    if (!typed) return void setFound(null);
    let over = false;
    const timer = setTimeout(() => {
      publicly(api.GET("/api/v1/recycling/search", { params: { query: { q: typed, limit: 20 } } }))
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
                <span><b>{lang.value === "en" ? one.name_en : one.name}</b><small>{one.stream_name}</small></span>
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
      <div class="actions foot">
        <a class="button secondary" href="/"><Icon name="camera" /> {t("rules.scan")}</a>
        <a class="button quiet" href={`/map?item=${encodeURIComponent(path.split("/").at(-1) ?? "")}`}><Icon name="pin" /> {t("guide.places.near")}</a>
      </div>
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
