import { useEffect, useRef, useState } from "preact/hooks";
import { api, authed, type Schemas } from "../api";
import { lang, t, type Text } from "../i18n";
import { described, type Problem } from "../scan";
import { ApiError, role } from "../session";
import { Main } from "../ui/layout";
import { ProblemCard } from "../ui/problem";

const PARTS = ["disputes", "places", "answers"] as const;
type Part = (typeof PARTS)[number];
const PAGE = 20;
const day = (text: string): string => new Date(text).toLocaleDateString(lang.value === "en" ? "en-GB" : "ko-KR", { dateStyle: "medium" });

/** What a steward looks after: results that are called wrong, places that are called gone, answers that rules change. */
export function Steward() {
  const [part, setPart] = useState<Part>("disputes");
  if (role.value !== "citizen") return <Main title={t("steward.title")} lead={t("steward.signin")}><p><a class="button primary" href="/me">{t("nav.me")}</a></p></Main>;
  return (
    <Main title={t("steward.title")} lead={t("steward.lead")}>
      <ul class="chips" aria-label={t("steward.parts")}>
        {PARTS.map((one) => <li key={one}><button type="button" aria-pressed={one === part} onClick={() => setPart(one)}>{t(`steward.${one}` as Text)}</button></li>)}
      </ul>
      {part === "disputes" ? <Disputes /> : part === "places" ? <Places /> : <Answers />}
    </Main>
  );
}

/** Loads a list page by page. */
function usePages<T>(load: (after: string | null) => Promise<{ rows: T[]; next: string | null }>, of: unknown) {
  const [rows, setRows] = useState<T[] | null>(null);
  const [next, setNext] = useState<string | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [allowed, setAllowed] = useState(true);
  const asked = useRef(0);
  const more = (after: string | null) => {
    const mine = ++asked.current;
    setProblem(null);
    load(after)
      .then((found) => {
        if (mine !== asked.current) return;
        setRows((before) => [...(after ? (before ?? []) : []), ...found.rows]);
        setNext(found.next);
      })
      .catch((error: unknown) => {
        if (mine !== asked.current) return;
        if (error instanceof ApiError && error.code === "STEWARDS_ONLY") setAllowed(false);
        else setProblem(described(error));
      });
  };
  useEffect(() => {
    setRows(null);
    more(null);
  }, [of]);
  const foot = !allowed ? <p role="alert" class="card">{t("steward.refused")}</p> : (
    <>
      {problem && <ProblemCard problem={problem} again={() => more(next)} />}
      {!rows && !problem && <p class="loading" role="status">{t("loading")}</p>}
      {rows?.length === 0 && <p class="empty">{t("steward.none")}</p>}
      {next && <button type="button" class="secondary" onClick={() => more(next)}>{t("more")}</button>}
    </>
  );
  return { rows: rows ?? [], setRows, foot };
}

function Disputes() {
  const [item, setItem] = useState<string | null>(null);
  const top = usePages<Schemas["DisputedItem"]>(
    () => authed(() => api.GET("/api/v1/scan/disputed", { params: { query: { days: 90, limit: PAGE } } })).then((rows) => ({ rows, next: null })),
    "top",
  );
  const said = usePages<Schemas["Dispute"]>(
    (cursor) => authed(() => api.GET("/api/v1/scan/disputes", { params: { query: { item, cursor, limit: PAGE } } })).then((page) => ({ rows: page.disputes, next: page.next_cursor })),
    item,
  );
  return (
    <>
      <section>
        <h2>{t("steward.top")}</h2>
        <ul class="rows">
          {top.rows.map((one) => (
            <li key={one.item}>
              <button type="button" aria-pressed={item === one.item} onClick={() => setItem(item === one.item ? null : one.item)}>
                <span><b>{one.name}</b><small>{t("steward.wrong", one.wrong, one.judged)}{one.meant.length > 0 && ` · ${one.meant.map((other) => `${other.name} ${other.times}`).join(", ")}`}</small></span>
              </button>
            </li>
          ))}
        </ul>
        {top.foot}
      </section>
      <section>
        <h2>{t("steward.said")}</h2>
        <ul class="articles">
          {said.rows.map((one) => (
            <li key={one.job_id} class="card">
              <p><b>{one.name}</b>{one.meant && <> → <b>{one.meant}</b></>}</p>
              {one.comment && <p>{one.comment}</p>}
              <p><small>{day(one.updated_at)}{one.model && ` · ${one.model}`}</small></p>
            </li>
          ))}
        </ul>
        {said.foot}
      </section>
    </>
  );
}

function Places() {
  const { rows, setRows, foot } = usePages<Schemas["ReportedPlace"]>(
    (cursor) => authed(() => api.GET("/api/v1/locations/reports", { params: { query: { cursor, limit: PAGE } } })).then((page) => ({ rows: page.reports, next: page.next_cursor })),
    "reports",
  );
  const [problem, setProblem] = useState<Problem | null>(null);
  /** The place that was taken off the map last: a wrong tap can be taken back. */
  const [retired, setRetired] = useState<{ id: number; name: string } | null>(null);
  const act = async (call: () => Promise<unknown>, gone: (one: Schemas["ReportedPlace"]) => boolean) => {
    setProblem(null);
    try {
      await call();
    } catch (error) {
      // Somebody else was faster: it is done.
      if (!(error instanceof ApiError && error.status === 404)) {
        setProblem(described(error));
        return false;
      }
    }
    setRetired(null);
    setRows((all) => (all ?? []).filter((one) => !gone(one)));
    return true;
  };
  const retire = async (place_id: number, name: string) => {
    const done = await act(() => authed(() => api.POST("/api/v1/locations/{place_id}/retire", { params: { path: { place_id } } })), (one) => one.place_id === place_id);
    if (done) setRetired({ id: place_id, name });
  };
  const restore = (place_id: number) => act(() => authed(() => api.POST("/api/v1/locations/{place_id}/restore", { params: { path: { place_id } } })), () => false);
  const settle = (report_id: string) => act(() => authed(() => api.DELETE("/api/v1/locations/reports/{report_id}", { params: { path: { report_id } } })), (one) => one.id === report_id);
  return (
    <section>
      <h2>{t("steward.reports")}</h2>
      {problem && <ProblemCard problem={problem} />}
      {retired && (
        <p role="status">{t("steward.retired", retired.name)} <button type="button" class="quiet" onClick={() => void restore(retired.id)}>{t("steward.restore")}</button></p>
      )}
      <ul class="articles">
        {rows.map((one, n) => (
          <li key={one.id} class="card">
            <p><b>{one.name}</b> · {t(one.kind === "other" ? "steward.other" : `map.report.${one.kind}`)}{one.reports > 1 && ` (${one.reports})`}</p>
            <p>{one.road_address}</p>
            {one.comment && <p>{one.comment}</p>}
            <p><small>{day(one.created_at)}</small></p>
            <div class="actions">
              <button type="button" class="secondary" aria-label={`${t("steward.retire")}: ${n + 1}, ${one.name}`} onClick={() => void retire(one.place_id, one.name)}>{t("steward.retire")}</button>
              <button type="button" class="quiet" aria-label={`${t("steward.settle")}: ${n + 1}, ${one.name}`} onClick={() => void settle(one.id)}>{t("steward.settle")}</button>
            </div>
          </li>
        ))}
      </ul>
      {foot}
    </section>
  );
}

function Answers() {
  const [about, setAbout] = useState<Schemas["AnswerChanges"] | null>(null);
  const { rows, foot } = usePages<Schemas["AnswerChange"]>(async (after) => {
    const first = Number(after ?? 0);
    try {
      const page = await authed(() => api.GET("/api/v1/recycling/changes", { params: { query: { first, limit: PAGE } } }));
      setAbout(page);
      return { rows: page.changes, next: first + PAGE < page.total ? String(first + PAGE) : null };
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return { rows: [], next: null };
      throw error;
    }
  }, "answers");
  return (
    <section>
      <h2>{t("steward.changed")}</h2>
      {about && <p class="hint">{t("steward.changed.about", about.total, about.worse, day(about.published_at))}</p>}
      <ul class="articles">
        {rows.map((one) => (
          <li key={one.id} class={one.worse.length > 0 ? "card warning" : "card"}>
            <h3 lang={one.lang}>{one.question}</h3>
            {one.worse.length > 0 && <p><b>{t("steward.worse")}: {one.worse.join(", ")}</b></p>}
            <dl class="days">
              <div><dt>{t("steward.was")}</dt><dd lang={one.lang}>{one.was}<small>{one.streams_were.join(", ")}</small></dd></div>
              <div><dt>{t("steward.now")}</dt><dd lang={one.lang}>{one.now}<small>{one.streams_are.join(", ")}</small></dd></div>
            </dl>
          </li>
        ))}
      </ul>
      {foot}
      {rows.length === 0 && <p class="hint"><code>eco2 knowledge diff REVISION --answers --publish</code></p>}
    </section>
  );
}
