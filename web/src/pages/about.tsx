import { t } from "../i18n";
import { Main } from "../ui/layout";
import { Served } from "./rules";

const SOURCES = "/about/sources";

/** What this is, what is kept how long, and where facts and places come from. */
export function About() {
  return (
    <Main title={t("nav.about")} lead={t("about.lead")}>
      <section class="card">
        <h2>{t("about.kept")}</h2>
        <ul>{(["about.kept.photo", "about.kept.guest", "about.kept.place", "about.kept.here"] as const).map((key) => <li key={key}>{t(key)}</li>)}</ul>
      </section>
      <section class="card">
        <h2>{t("about.limits")}</h2>
        <p>{t("about.limits.text")}</p>
      </section>
      <Served path={SOURCES} />
    </Main>
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
