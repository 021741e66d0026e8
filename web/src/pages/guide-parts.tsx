import { useEffect, useState } from "preact/hooks";
import { api, authed, type Schemas } from "../api";
import { t } from "../i18n";
import type { Result } from "../history";
import { keep, kept } from "../kept";
import { described, type Problem } from "../scan";
import { Icon } from "../ui/icons";
import { ProblemCard } from "../ui/problem";

/** Steps to tick off; what is ticked stays so until the guide is forgotten. */
export function Steps({ job, steps, lang }: { job: string; steps: string[]; lang?: string }) {
  const name = `steps.${job}`;
  const [done, setDone] = useState<number[]>(kept<number[]>(name) ?? []);
  const tick = (n: number, is: boolean) => {
    const next = is ? [...done, n] : done.filter((one) => one !== n);
    setDone(next);
    keep(name, next.length ? next : null);
  };
  const all = steps.length > 0 && steps.every((_, n) => done.includes(n));
  return (
    <section class="card steps">
      <h2>{lang ? t("guide.steps.ko") : t("guide.steps")}</h2>
      <ol lang={lang}>
        {steps.map((step, n) => (
          <li key={step}>
            <label class={done.includes(n) ? "done" : ""}>
              <input type="checkbox" checked={done.includes(n)} onChange={(event) => tick(n, event.currentTarget.checked)} />
              <span class="box"><Icon name="check" /></span>
              <span>{step}</span>
            </label>
          </li>
        ))}
      </ol>
      <p role="status" class="done">{all ? t("guide.steps.done") : ""}</p>
    </section>
  );
}

/** What it may be, to choose from. */
export function Choice({ job, candidates, onChosen }: { job: string; candidates: Schemas["Candidate"][]; onChosen: (result: Result) => void }) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const choose = async (minor_category: string | null) => {
    setBusy(true);
    setProblem(null);
    try {
      onChosen(await authed(() => api.POST("/api/v1/scan/{job_id}/choice", { params: { path: { job_id: job } }, body: { minor_category } })));
    } catch (error) {
      setProblem(described(error));
    } finally {
      setBusy(false);
    }
  };
  return (
    <section class="card choice" aria-busy={busy}>
      <h2>{t("guide.choice")}</h2>
      <p>{t("guide.choice.lead")}</p>
      {problem && <ProblemCard problem={problem} />}
      <ul>
        {candidates.map((one) => (
          <li key={one.minor_category}>
            <button type="button" class="secondary" disabled={busy} onClick={() => void choose(one.minor_category)}>
              <b>{one.minor_category}</b> <small>{one.middle_category}</small>
            </button>
          </li>
        ))}
        <li><button type="button" class="quiet" disabled={busy} onClick={() => void choose(null)}>{t("guide.choice.none")}</button></li>
      </ul>
    </section>
  );
}

/** Whether the guide was right, and what it was where it was not. */
export function Feedback({ job }: { job: string }) {
  const [state, setState] = useState<"ask" | "which" | "thanks">("ask");
  const [names, setNames] = useState<string[]>([]);
  const [word, setWord] = useState("");
  const [problem, setProblem] = useState<Problem | null>(null);
  useEffect(() => {
    if (state !== "which" || !word.trim()) return;
    let over = false;
    const timer = setTimeout(() => {
      authed(() => api.GET("/api/v1/scan/items", { params: { query: { q: word.trim(), limit: 8 } } }))
        .then((rows) => !over && setNames(rows.map((row) => row.minor_category)))
        .catch(() => undefined);
    }, 200);
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [word, state]);
  const send = async (verdict: "right" | "wrong", typed = "") => {
    const known = names.includes(typed);
    const body = { verdict, minor_category: known ? typed : null, comment: typed && !known ? typed : null };
    try {
      await authed(() => api.POST("/api/v1/scan/{job_id}/feedback", { params: { path: { job_id: job } }, body }));
      setState("thanks");
      setProblem(null);
    } catch (error) {
      setProblem(described(error));
    }
  };
  return (
    <section class="card feedback">
      {state === "thanks" ? (
        <p role="status">{t("guide.right.thanks")}</p>
      ) : state === "ask" ? (
        <>
          <h2>{t("guide.right")}</h2>
          <div class="actions">
            <button type="button" class="secondary" onClick={() => void send("right")}>{t("guide.right.yes")}</button>
            <button type="button" class="secondary" onClick={() => setState("which")}>{t("guide.right.no")}</button>
          </div>
        </>
      ) : (
        <form onSubmit={(event) => { event.preventDefault(); void send("wrong", word.trim()); }}>
          <label for="was">{t("guide.right.which")}</label>
          <div class="field">
            <input id="was" list="names" value={word} maxLength={200} autocomplete="off" onInput={(event) => setWord(event.currentTarget.value)} />
            <button type="submit" class="secondary">{t("guide.right.send")}</button>
          </div>
          <datalist id="names">{names.map((name) => <option key={name} value={name} />)}</datalist>
        </form>
      )}
      {problem && <ProblemCard problem={problem} />}
    </section>
  );
}
