import { useEffect, useState } from "preact/hooks";
import { api, authed, type Schemas } from "../api";
import { lang, t } from "../i18n";
import { described, type Problem } from "../scan";
import { Main } from "../ui/layout";
import { ProblemCard } from "../ui/problem";

/** News and notices. Their pictures are other people's, and stay away. */
export function News() {
  const [rows, setRows] = useState<Schemas["NewsArticle"][] | null>(null);
  const [next, setNext] = useState<string | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  const load = (cursor?: string) => {
    setProblem(null);
    setBusy(true);
    authed(() => api.GET("/api/v1/info/news", { params: { query: { limit: 20, cursor } } }))
      .then((page) => {
        setRows((before) => [...(cursor ? (before ?? []) : []), ...page.articles]);
        setNext(page.has_more ? page.next_cursor : null);
      })
      .catch((error: unknown) => setProblem(described(error)))
      .finally(() => setBusy(false));
  };
  useEffect(() => load(), []);
  const day = (text: string) => new Date(text).toLocaleDateString(lang.value === "en" ? "en-GB" : "ko-KR", { dateStyle: "medium" });
  return (
    <Main title={t("nav.news")} lead={t("news.lead")}>
      {problem && <ProblemCard problem={problem} again={() => load(next ?? undefined)} />}
      {!rows && !problem && <p class="loading" role="status">{t("loading")}</p>}
      {rows?.length === 0 && <p class="empty">{t("news.none")}</p>}
      <ul class="articles">
        {rows?.map((one) => (
          <li key={one.id} class="card">
            <h2><a href={one.url} rel="noreferrer">{one.title}</a></h2>
            <p>{one.snippet}</p>
            <p><small>{one.source_name} · {day(one.published_at)}</small></p>
          </li>
        ))}
      </ul>
      {next && <button type="button" class="secondary" disabled={busy} onClick={() => load(next)}>{t("more")}</button>}
    </Main>
  );
}
