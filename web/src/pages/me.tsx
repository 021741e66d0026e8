import { useEffect, useState } from "preact/hooks";
import { useLocation } from "preact-iso";
import { signal } from "@preact/signals";
import { api, authed, identify, publicly, type Schemas } from "../api";
import { past } from "../history";
import { endReminder, forgetAll } from "../kept";
import { lang, t } from "../i18n";
import { described, type Problem } from "../scan";
import { role, signOut, tellLanguage } from "../session";
import { Icon } from "../ui/icons";
import { Main } from "../ui/layout";
import { ProblemCard } from "../ui/problem";

type Mine = { profile: Schemas["Profile"]; points: Schemas["PointsAccount"]; characters: Schemas["OwnedCharacter"][]; scans: Schemas["ScanEntry"][] };
const PROVIDERS = ["kakao", "google", "naver"] as const;
const failed = signal<Problem | null>(null);

export function Me() {
  const { query, route } = useLocation();
  useEffect(() => {
    if (query.signed !== "in") return;
    failed.value = null;
    identify()
      .then(tellLanguage)
      .catch((error: unknown) => (failed.value = described(error)))
      .finally(() => route("/me", true));
  }, []);
  if (query.signed === "in") return <Main title={t("nav.me")}><p class="loading" role="status">{t("loading")}</p></Main>;
  return role.value === "citizen" ? <Account /> : <Visitor refused={query.signed === "failed"} />;
}

function Visitor({ refused }: { refused: boolean }) {
  const signIn = async (provider: (typeof PROVIDERS)[number]) => {
    failed.value = null;
    try {
      const params = { path: { provider }, query: { frontend_origin: location.origin } };
      const answer = await publicly(api.GET("/api/v1/auth/{provider}", { params }));
      location.assign(answer.data.authorization_url);
    } catch (error) {
      failed.value = described(error);
    }
  };
  return (
    <Main title={t("nav.me")} lead={t("me.lead")}>
      {refused && <p role="alert" class="card problem">{t("me.refused")}</p>}
      {failed.value && <ProblemCard problem={failed.value} />}
      <div class="signin">
        {PROVIDERS.map((one) => <button key={one} type="button" class={`secondary ${one}`} onClick={() => void signIn(one)}>{t(`me.with.${one}`)}</button>)}
      </div>
      <p class="hint">{t("me.claim")}</p>
      <Device />
    </Main>
  );
}

/** Why somebody is still signed in: of a scan's problems only the lost connection is one of this too. */
function notOut(error: unknown): Problem {
  const problem = described(error);
  return problem.kind === "offline" ? problem : { kind: "other", detail: t("me.out.failed"), wait: problem.wait };
}

/** What this browser keeps, and how it forgets. */
function Device() {
  const [asked, setAsked] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const forget = async () => {
    setProblem(null);
    try {
      await signOut();
    } catch (error) {
      // Cookies that are left would open the account to whoever comes next.
      if (role.value) return setProblem(notOut(error));
    }
    await forgetAll();
    location.assign("/");
  };
  return (
    <section>
      <h2>{t("me.device")}</h2>
      <p class="hint">{t("me.device.lead", past.value.length)}</p>
      {problem && <ProblemCard problem={problem} again={() => void forget()} />}
      <div class="actions">
        {!asked ? (
          <button type="button" class="secondary" onClick={() => setAsked(true)}><Icon name="trash" /> {t("me.device.forget")}</button>
        ) : (
          <button type="button" class="primary" onClick={() => void forget()}>{t("me.device.sure")}</button>
        )}
        <a class="button quiet" href="/about">{t("nav.about")}</a>
      </div>
    </section>
  );
}

function Account() {
  const [mine, setMine] = useState<Mine | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [sure, setSure] = useState(false);
  const load = () => {
    setProblem(null);
    Promise.all([
      authed(() => api.GET("/api/v1/users/me")),
      authed(() => api.GET("/api/v1/users/me/points", { params: { query: { limit: 5 } } })),
      authed(() => api.GET("/api/v1/users/me/characters")),
      authed(() => api.GET("/api/v1/users/me/scans", { params: { query: { limit: 20 } } })),
    ])
      .then(([profile, points, characters, page]) => setMine({ profile, points, characters, scans: page.scans }))
      .catch((error: unknown) => setProblem(described(error)));
  };
  useEffect(load, []);
  const out = async () => {
    try {
      await signOut();
      await endReminder();
    } catch (error) {
      setProblem(notOut(error));
    }
  };
  const fetched = async () => {
    try {
      const data = await authed(() => api.GET("/api/v1/users/me/export"));
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([JSON.stringify(data, null, 2)], { type: "application/json" }));
      link.download = "eco2.json";
      link.click();
      URL.revokeObjectURL(link.href);
    } catch (error) {
      setProblem(described(error));
    }
  };
  const leave = async () => {
    try {
      await authed(() => api.DELETE("/api/v1/users/me"));
      await forgetAll();
      location.assign("/");
    } catch (error) {
      setProblem(described(error));
    }
  };
  const remove = async (job: string) => {
    try {
      await authed(() => api.DELETE("/api/v1/scan/{job_id}", { params: { path: { job_id: job } } }));
      load();
    } catch (error) {
      setProblem(described(error));
    }
  };
  const day = (text: string) => new Date(text).toLocaleDateString(lang.value === "en" ? "en-GB" : "ko-KR", { dateStyle: "medium" });
  return (
    <Main title={mine ? mine.profile.display_name : t("nav.me")}>
      {problem && <ProblemCard problem={problem} again={load} />}
      {!mine && !problem && <p class="loading" role="status">{t("loading")}</p>}
      {mine && (
        <>
          <section class="card points">
            <h2>{t("me.points")}</h2>
            <p><b>{mine.points.balance}</b> {t("me.points.today", mine.points.today, mine.points.daily_cap)}</p>
            {mine.points.streak.current > 0 && <p>{t("me.streak", mine.points.streak.current, mine.points.streak.longest)}</p>}
          </section>
          <h2>{t("me.characters", mine.characters.length)}</h2>
          <ul class="chips">{mine.characters.map((one) => <li key={one.id}><span class="card" title={one.dialog}>{one.name}</span></li>)}</ul>
          <h2>{t("me.scans")}</h2>
          {mine.scans.length === 0 && <p class="empty">{t("me.scans.none")}</p>}
          <ul class="rows">
            {mine.scans.map((one) => (
              <li key={one.job_id} class="split">
                <a href={`/guide/${one.job_id}`}>
                  <img src={one.image_url} alt="" width="44" height="44" loading="lazy" />
                  <span><b>{one.classification?.minor_category ?? t("me.scans.unknown")}</b><small>{day(one.created_at)}</small></span>
                </a>
                <button type="button" class="quiet" aria-label={`${t("me.delete.one")}: ${one.classification?.minor_category ?? ""} ${new Date(one.created_at).toLocaleString(lang.value === "en" ? "en-GB" : "ko-KR")}`} onClick={() => void remove(one.job_id)}><Icon name="trash" /></button>
              </li>
            ))}
          </ul>
        </>
      )}
      {mine && ["steward", "operator"].includes(mine.profile.role) && <p><a class="button secondary" href="/steward">{t("steward.title")}</a></p>}
      <div class="actions">
        <button type="button" class="secondary" onClick={() => void out()}>{t("me.out")}</button>
        <button type="button" class="secondary" onClick={() => void fetched()}>{t("me.export")}</button>
        {!sure ? (
          <button type="button" class="quiet" onClick={() => setSure(true)}>{t("me.leave")}</button>
        ) : (
          <button type="button" class="primary" onClick={() => void leave()}>{t("me.leave.sure")}</button>
        )}
      </div>
      <Device />
    </Main>
  );
}
