import { useEffect, useState } from "preact/hooks";
import { api, authed, type Schemas } from "../api";
import { t } from "../i18n";
import { Main } from "../ui/layout";
import { Source } from "./place";
import { Served } from "./rules";

const SOURCES = "/about/sources";
const KEPT = ["about.kept.photo", "about.kept.guest", "about.kept.place", "about.kept.chat", "about.kept.reminder", "about.kept.account", "about.kept.signin", "about.kept.here"] as const;

/** What this is, what is kept how long, and where facts and places come from. */
export function About() {
  return (
    <Main title={t("nav.about")} lead={t("about.lead")}>
      <section class="card">
        <h2>{t("about.kept")}</h2>
        <ul>{KEPT.map((key) => <li key={key}>{t(key)}</li>)}</ul>
      </section>
      <section class="card">
        <h2>{t("about.limits")}</h2>
        <p>{t("about.limits.text")}</p>
      </section>
      <Places />
      <Served path={SOURCES} />
    </Main>
  );
}

/** Lists of places with institution, title, year and licence, as the licences ask for. */
function Places() {
  const [rows, setRows] = useState<Schemas["FeedSource"][] | null>(null);
  useEffect(() => {
    authed(() => api.GET("/api/v1/locations/sources")).then(setRows, () => undefined);
  }, []);
  if (!rows?.length) return null;
  return (
    <section class="card" id="places">
      <h2>{t("about.places")}</h2>
      <ul>{rows.map((one) => <li key={`${one.publisher}${one.title}`}><Source {...one} /> <small>{t("map.found", one.places)}</small></li>)}</ul>
      <p class="hint">{t("about.places.note")}</p>
    </section>
  );
}

/** The part of it that has an address of its own. */
export function Sources() {
  return (
    <Main title={t("about.sources")}>
      <Served path={SOURCES} />
    </Main>
  );
}
