import { useEffect, useState } from "preact/hooks";
import { useLocation, useRoute } from "preact-iso";
import { api, publicly, type Schemas } from "../api";
import { lang, t } from "../i18n";
import { forgetGuide, remembered, rememberGuide, type Result } from "../history";
import { reached } from "../reach";
import { described, follow, photo, reset, type Problem, type Stage } from "../scan";
import { Icon } from "../ui/icons";
import { Main } from "../ui/layout";
import { ProblemCard } from "../ui/problem";
import { Stages } from "../ui/stages";
import { Acts } from "./guide-acts";
import { Choice, Feedback, Steps } from "./guide-parts";
import { Where } from "./guide-where";
import { Served, StreamBadge } from "./rules";

type Item = Schemas["ItemDetail"];
type State = { stage: Stage; connected: boolean; result: Result | null; gone: boolean; problem: Problem | null; saved: boolean };
const BEGIN: State = { stage: "queued", connected: true, result: null, gone: false, problem: null, saved: false };
const HAZARD = new Set(["battery_bin", "lamp_bin", "medicine_box", "hazard_box", "professional"]);

export function Guide() {
  const { params } = useRoute();
  const job = params.id ?? "";
  const { route } = useLocation();
  const [state, setState] = useState<State>(BEGIN);
  const [turn, setTurn] = useState(0);
  const change = (part: Partial<State>) => setState((now) => ({ ...now, ...part }));

  useEffect(() => {
    const old = remembered(job);
    setState(old ? { ...BEGIN, result: old.result, saved: true } : BEGIN);
    // A guide that is kept is shown at once; what changed since (a choice on another device) replaces it.
    return follow(job, {
      stage: (stage) => change({ stage, connected: true }),
      connected: (connected) => change({ connected }),
      result: (result) => {
        change({ result, saved: false });
        keepGuide(job, result);
      },
      gone: () => {
        if (!old) change({ gone: true });
      },
      failed: (problem) => {
        if (!old) change({ problem });
      },
    });
  }, [job, turn]);

  const picture = photo.value?.job === job ? photo.value.url : remembered(job)?.thumb;
  if (state.gone) {
    return (
      <Main title={t("error.gone")} lead={t("error.gone.more")}>
        <Again />
      </Main>
    );
  }
  if (state.problem) {
    return (
      <Main title={t("error.other")} hide>
        <ProblemCard problem={state.problem} again={() => setTurn(turn + 1)} />
      </Main>
    );
  }
  if (!state.result) {
    return (
      <Main title={t("scan.stages")} hide>
        <section class="card live">
          {picture && <img class="shot" src={picture} alt={t("guide.photo")} />}
          <Stages at={state.stage} reconnecting={!state.connected} />
          <button type="button" class="quiet" onClick={() => { reset(); route("/"); }}>{t("scan.cancel")}</button>
        </section>
      </Main>
    );
  }
  const chosen = (result: Result) => {
    change({ result });
    keepGuide(job, result);
  };
  if (!state.result.pipeline_result) return <Unsure job={job} result={state.result} picture={picture} onChosen={chosen} />;
  return <Answer job={job} result={state.result} picture={picture} saved={state.saved && !reached.value} onChosen={chosen} />;
}

function keepGuide(job: string, result: Result): void {
  const found = result.pipeline_result;
  if (!found) return forgetGuide(job);
  const before = remembered(job);
  rememberGuide({
    id: job,
    at: before?.at ?? Date.now(),
    name: found.classification_result.classification.minor_category,
    stream: streamName(found.stream),
    kind: found.stream?.kind ?? "",
    thumb: (photo.value?.job === job ? photo.value.thumb : null) ?? before?.thumb ?? null,
    result,
  });
}

type Shown = { job: string; result: Result; picture: string | null | undefined; onChosen: (result: Result) => void };
const streamName = (stream: Schemas["Stream"] | null): string => (stream ? (lang.value === "en" ? stream.name_en : stream.name) : "");

/** Nothing that a guide can be made of: why, and what helps. */
function Unsure({ job, result, picture, onChosen }: Shown) {
  const unsure = result.outcome === "unsure";
  return (
    <Main title={unsure ? t("error.unsure") : t("error.failed")} lead={result.error ?? t("error.other.more")}>
      {picture && <img class="shot" src={picture} alt={t("guide.photo")} />}
      {unsure && <p>{t("error.unsure.more")}</p>}
      {result.candidates.length > 0 && <Choice job={job} candidates={result.candidates} onChosen={onChosen} />}
      <Again />
      <a class="button secondary" href={lang.value === "en" ? "/en/rules" : "/rules"}><Icon name="search" /> {t("error.search")}</a>
    </Main>
  );
}

function Answer({ job, result, picture, saved, onChosen }: Shown & { saved: boolean }) {
  const found = result.pipeline_result!;
  const { minor_category: minor, middle_category: middle } = found.classification_result.classification;
  const item = useItem(minor);
  const english = lang.value === "en";
  const name = (english && item?.item.en) || minor || middle;
  const rules = found.disposal_rules as Record<string, unknown> | null;
  const steps = Object.values(found.final_answer.disposal_steps).filter(Boolean);
  // A guide from before the language was changed; its English is that of the item, in its usual state.
  const korean = /[가-힣]/.test(steps.join(""));
  const faults = found.final_answer.insufficiencies.filter((text) => text.trim());
  const dont = texts(english ? item?.rule.dont_en : values(rules?.["배출불가_품목_안내"]));
  const cases = (item?.rule.exceptions ?? []).filter((one) => one.if?.items?.includes(item!.item.id));
  const hazard = found.stream && (HAZARD.has(found.stream.id) || found.classification_result.classification.major_category === "생활계유해폐기물");
  return (
    <Main title={name}>
      {saved && <p class="hint">{t("guide.offline")}</p>}
      <div class="verdict">
        {picture && <img class="shot" src={picture} alt={t("guide.photo")} />}
        {found.stream && <StreamBadge kind={found.stream.kind} name={streamName(found.stream)} />}
      </div>
      {result.needs_choice && <Choice job={job} candidates={result.candidates} onChosen={onChosen} />}
      {hazard && dont.length > 0 && <Box kind="warning" title={t("guide.danger")} rows={dont} />}
      {faults.length > 0 && <Box kind="first" title={t("guide.first")} rows={faults} />}
      {english && korean && item && <Served path={`/en/rules/${item.item.id}`} />}
      <Steps job={job} steps={steps} lang={english && korean ? "ko" : undefined} />
      {!hazard && dont.length > 0 && <Box kind="donts" title={t("guide.dont")} rows={dont} />}
      {cases.length > 0 && <Box kind="exceptions" title={t("guide.exception")} rows={cases.slice(0, 1).map((one) => (english && one.en) || one.ko)} />}
      {result.reward && (
        <section class="card reward">
          <h2><Icon name="gift" /> {t("guide.reward", result.reward.name)}</h2>
          <p>{result.reward.dialog}</p>
        </section>
      )}
      {found.others.length > 0 && (
        <section>
          <h2>{t("guide.others")}</h2>
          {found.others.map((other, n) => (
            <details class="card" key={n}>
              <summary>{other.classification_result.classification.minor_category} · {streamName(other.stream)}</summary>
              <ol class="plain">{Object.values(other.final_answer.disposal_steps).filter(Boolean).map((step) => <li key={step}>{step}</li>)}</ol>
            </details>
          ))}
        </section>
      )}
      <Acts name={name} stream={streamName(found.stream)} steps={[...faults, ...steps, ...dont]} />
      {found.stream && <Where stream={found.stream.id} kind={found.stream.kind} item={item?.item.id ?? null} />}
      <ul class="rows">
        {item && <Row href={`${english ? "/en" : ""}/rules/${item.item.id}`} icon="search" text={t("guide.rule")} />}
        <Row href="/calendar" icon="calendar" text={t("nav.calendar")} />
      </ul>
      <Why answer={found.final_answer.user_answer} rules={rules} item={item} />
      <Feedback key={job} job={job} />
      <Again next />
    </Main>
  );
}

function Row({ href, icon, text }: { href: string; icon: "pin" | "calendar" | "search"; text: string }) {
  return (
    <li>
      <a href={href}><span class="thumb"><Icon name={icon} /></span><span><b>{text}</b></span><Icon name="next" /></a>
    </li>
  );
}

function Box({ kind, title, rows }: { kind: string; title: string; rows: readonly string[] }) {
  return (
    <section class={`card ${kind}`}>
      <h2>{kind === "warning" && <Icon name="warn" />} {title}</h2>
      <ul>{rows.map((row) => <li key={row}>{row}</li>)}</ul>
    </section>
  );
}

function Why({ answer, rules, item }: { answer: string; rules: Record<string, unknown> | null; item: Item | null }) {
  const told = lang.value === "en" ? [] : values(rules?.["대상_설명"]);
  return (
    <details class="card why">
      <summary>{t("guide.why")}</summary>
      {answer && <p>{answer}</p>}
      {told.map((line) => <p key={line}>{line}</p>)}
      {item && item.sources.length > 0 && (
        <>
          <h3>{t("guide.sources")}</h3>
          <ul>
            {item.sources.map((one) => (
              <li key={one.id}>{one.publisher}, {one.url ? <a href={one.url} rel="noreferrer">{one.title}</a> : one.title} ({one.date})</li>
            ))}
          </ul>
        </>
      )}
    </details>
  );
}

function Again({ next }: { next?: boolean }) {
  return (
    <p class="again"><a class="button primary" href="/"><Icon name="camera" /> {next ? t("guide.next") : t("error.retake")}</a></p>
  );
}

const texts = (rows: readonly string[] | undefined): string[] => [...(rows ?? [])].filter(Boolean);
function values(of: unknown): string[] {
  if (!of || typeof of !== "object") return [];
  return Object.values(of).filter((one): one is string => typeof one === "string" && one.trim() !== "");
}

/** The catalogue's page of what was seen: its sources and exceptions, and its English name. */
function useItem(name: string): Item | null {
  const [item, setItem] = useState<Item | null>(null);
  useEffect(() => {
    let over = false;
    const load = async () => {
      const [first] = await publicly(api.GET("/api/v1/recycling/search", { params: { query: { q: name, limit: 1 } } }));
      if (first?.name !== name) return;
      const detail = await publicly(api.GET("/api/v1/recycling/items/{item_id}", { params: { path: { item_id: first.id } } }));
      if (!over) setItem(detail);
    };
    if (name) load().catch((error: unknown) => void described(error));
    return () => {
      over = true;
    };
  }, [name]);
  return item;
}

