import { useEffect, useState } from "preact/hooks";
import { api, publicly, type Schemas } from "../api";
import { keep, kept } from "../kept";
import { lang, named, t, type Text } from "../i18n";
import { described, type Problem } from "../scan";
import { ApiError } from "../session";
import { Icon } from "../ui/icons";
import { Main } from "../ui/layout";
import { ProblemCard } from "../ui/problem";
import { Remind } from "./remind";

type Calendar = Schemas["CollectionCalendar"];
const DAYS = { ko: ["월", "화", "수", "목", "금", "토", "일"], en: ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"] };
const ORDER = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] as const;

/** Collection days of a district, and the address that a calendar app subscribes to. */
export function Days() {
  const [word, setWord] = useState(kept<string>("district") ?? "");
  const [found, setFound] = useState<Calendar | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [unknown, setUnknown] = useState("");
  const load = (name: string) => {
    if (!name.trim()) return;
    setProblem(null);
    setUnknown("");
    publicly(api.GET("/api/v1/recycling/regions/{region_id}/calendar", { params: { path: { region_id: name.trim() }, query: { days: 14 } } }))
      .then((calendar) => {
        setFound(calendar);
        keep("district", calendar.district);
      })
      .catch((error: unknown) => {
        setFound(null);
        if (error instanceof ApiError) setUnknown(t(unknownDays(error)));
        else setProblem(described(error));
      });
  };
  useEffect(() => load(word), []);
  const said = (days: readonly string[]) => ORDER.filter((day) => days.includes(day)).map((day) => DAYS[lang.value][ORDER.indexOf(day)]).join(" · ");
  return (
    <Main title={t("nav.calendar")} lead={t("days.lead")}>
      <form class="search" onSubmit={(event) => { event.preventDefault(); load(word); }}>
        <label for="district">{t("days.district")}</label>
        <div class="field">
          <input id="district" type="search" value={word} placeholder={t("days.hint")} onInput={(event) => setWord(event.currentTarget.value)} />
          <button type="submit" class="secondary" aria-label={t("days.show")}><Icon name="search" /></button>
        </div>
      </form>
      {problem && <ProblemCard problem={problem} again={() => load(word)} />}
      {unknown && <p role="alert" class="card">{unknown}</p>}
      {found && (
        <>
          <h2>{found.district}</h2>
          {found.areas.map((area) => (
            <section class="card" key={area.area}>
              {area.area && <h3>{area.area}</h3>}
              <dl class="days">
                {area.pickups.map((one) => (
                  <div key={`${one.collection}${one.days.join()}`}>
                    <dt>{named("days.what", one.collection) || one.name}</dt>
                    <dd><b>{said(one.days)}</b>{one.from_time && <> <span class="time">{one.from_time}–{one.until_time ?? ""}</span></>}{one.method && <small>{one.method}</small>}</dd>
                  </div>
                ))}
              </dl>
              {area.no_pickup && <p class="hint">{t("days.never", weekdays(area.no_pickup))}</p>}
              {area.tel && <p><a href={`tel:${area.tel}`}>{area.office} {area.tel}</a></p>}
            </section>
          ))}
          <p><a class="button secondary" download="eco2.ics" href={`/api/v1/recycling/regions/${encodeURIComponent(found.district)}/calendar.ics`}><Icon name="calendar" /> {t("days.ics")}</a></p>
          <Remind calendar={found} key={found.district} />
          <p class="hint">{found.source.publisher}, {found.source.title} ({found.source.checked}){found.source.sample && ` · ${t("days.sample")}`}</p>
        </>
      )}
    </Main>
  );
}

/** Text of a calendar that there is none of. */
export function unknownDays({ code }: ApiError): Text {
  return code === "REGION_NOT_FOUND" ? "days.lost" : code === "STREAM_NOT_COLLECTED" ? "days.not" : "days.unknown";
}

/** Weekdays in the words of a district, in the language of the page. */
function weekdays(text: string): string {
  return lang.value === "en" ? text.replace(/([월화수목금토일])요일/g, (_, day: string) => DAYS.en[DAYS.ko.indexOf(day)]!) : text;
}
