import { useEffect, useState } from "preact/hooks";
import { api, authed, publicly, type Schemas } from "../api";
import { keep, kept } from "../kept";
import { lang, t } from "../i18n";
import { described } from "../scan";
import { ApiError } from "../session";
import { Icon } from "../ui/icons";
import { unknownDays } from "./calendar";
import { PlaceCard } from "./place";

type Calendar = Schemas["CollectionCalendar"];

/** Streams that are put out at the kerb without a day that is known. */
const NO_DAY = ["noncombustible_sack"];

/** Where a thing goes from here: the next collection day of its stream, or the places near that are open now. */
export function Where({ stream, kind, item }: { stream: string; kind: string; item: string | null }) {
  if (["recycle", "bag"].includes(kind) && !NO_DAY.includes(stream)) return <NextDay stream={stream} />;
  return ["dropoff", "return", "reuse"].includes(kind) && item ? <OpenNow key={item} item={item} /> : null;
}

/** The same of an item of the catalogue. */
export function WhereOf({ id }: { id: string }) {
  const [found, setFound] = useState<Schemas["ItemDetail"] | null>(null);
  useEffect(() => {
    let over = false;
    setFound(null);
    publicly(api.GET("/api/v1/recycling/items/{item_id}", { params: { path: { item_id: id } } })).then((detail) => !over && setFound(detail), () => undefined);
    return () => {
      over = true;
    };
  }, [id]);
  return found && <Where stream={found.stream.id} kind={found.stream.kind} item={id} />;
}

/** When the district of this browser collects a stream next. Asked when shown: it holds for today. */
function NextDay({ stream }: { stream: string }) {
  const [district, setDistrict] = useState(kept<string>("district") ?? "");
  const [word, setWord] = useState("");
  const [state, setState] = useState<"none" | "loading" | "failed" | { unknown: string } | Calendar>("none");
  useEffect(() => {
    if (!district) return setState("none");
    let over = false;
    setState("loading");
    publicly(api.GET("/api/v1/recycling/regions/{region_id}/calendar", { params: { path: { region_id: district }, query: { stream, days: 14 } } }))
      .then((calendar) => {
        if (over) return;
        keep("district", calendar.district);
        setState(calendar);
      })
      .catch((error: unknown) => {
        if (over) return;
        setState(error instanceof ApiError ? { unknown: t(unknownDays(error)) } : "failed");
      });
    return () => {
      over = true;
    };
  }, [district, stream]);
  const known = typeof state === "object" && "areas" in state ? state : null;
  return (
    <section class="card where">
      <h2><Icon name="calendar" /> {t("guide.day")}</h2>
      {state === "loading" && <p class="hint" role="status">{t("loading")}</p>}
      {state === "failed" && <p class="hint">{t("guide.day.failed")}</p>}
      {typeof state === "object" && "unknown" in state && <p role="alert">{state.unknown}</p>}
      {known && <Upcoming calendar={known} />}
      {!known && state !== "loading" && (
        <form onSubmit={(event) => { event.preventDefault(); setDistrict(word.trim()); }}>
          <label for="mine">{t("guide.day.ask")}</label>
          <div class="field">
            <input id="mine" type="search" value={word} placeholder={t("days.hint")} onInput={(event) => setWord(event.currentTarget.value)} />
            <button type="submit" class="secondary" aria-label={t("days.show")}><Icon name="search" /></button>
          </div>
        </form>
      )}
      {known && (
        <p class="hint">{known.district}{known.source.sample && ` · ${t("days.sample")}`} · <a href="/calendar">{t("guide.day.all")}</a></p>
      )}
    </section>
  );
}

/** The next day of each area; areas that have the same one are told together. */
function Upcoming({ calendar }: { calendar: Calendar }) {
  const days = new Map<string, string[]>();
  for (const area of calendar.areas) {
    const next = area.next[0]?.date ?? "";
    days.set(next, [...(days.get(next) ?? []), area.area]);
  }
  const pickup = calendar.areas[0]?.pickups[0];
  return (
    <>
      {[...days].map(([day, areas]) => (
        <p key={day} class="day">
          <b>{day ? inWords(day, calendar.first) : t("guide.day.none")}</b>
          {days.size > 1 && <small>{areas.join(", ")}</small>}
        </p>
      ))}
      {pickup?.from_time && <p>{pickup.from_time}–{pickup.until_time ?? ""}{pickup.place && ` · ${pickup.place}`}</p>}
    </>
  );
}

function inWords(day: string, today: string): string {
  const at = new Date(`${day}T00:00:00`);
  const away = Math.round((at.getTime() - new Date(`${today}T00:00:00`).getTime()) / 86_400_000);
  const told = at.toLocaleDateString(lang.value === "en" ? "en-GB" : "ko-KR", { month: "long", day: "numeric", weekday: "long" });
  return away === 0 ? `${t("guide.day.today")}, ${told}` : away === 1 ? `${t("guide.day.tomorrow")}, ${told}` : told;
}

/** Places that take the thing and are open now. Where somebody is is asked for by them, and at once where they allowed it before. */
function OpenNow({ item }: { item: string }) {
  const [state, setState] = useState<"ask" | "loading" | "refused" | "failed" | { places: Schemas["Entry"][]; open: boolean }>("ask");
  const locate = () => {
    setState("loading");
    navigator.geolocation.getCurrentPosition(({ coords }) => void find(coords.latitude, coords.longitude), () => setState("refused"), { timeout: 10000, maximumAge: 60000 });
  };
  const find = async (lat: number, lon: number) => {
    const near = (open_now: boolean) =>
      authed(() => api.GET("/api/v1/locations/nearest", { params: { query: { lat, lon, item, open_now, limit: 2, radius: 10_000 } } })).then((found) => found.places);
    try {
      const open = await near(true);
      setState(open.length ? { places: open, open: true } : { places: await near(false), open: false });
    } catch (error) {
      void described(error);
      setState("failed");
    }
  };
  useEffect(() => {
    if (!navigator.geolocation) return setState("refused");
    navigator.permissions?.query({ name: "geolocation" }).then((answer) => answer.state === "granted" && locate(), () => undefined);
  }, [item]);
  return (
    <section class="card where">
      <h2><Icon name="pin" /> {t("guide.near")}</h2>
      {state === "loading" && <p class="hint" role="status">{t("loading")}</p>}
      {state === "refused" && <p class="hint" role="status">{t("map.refused")}</p>}
      {state === "failed" && <p class="hint" role="status">{t("error.other.more")}</p>}
      {typeof state === "object" && (
        <>
          {!state.open && <p class="hint">{state.places.length ? t("guide.near.closed") : t("guide.near.none")}</p>}
          {state.places.map((one) => <PlaceCard key={one.id} place={one} />)}
        </>
      )}
      <div class="actions">
        {(state === "ask" || state === "failed") && <button type="button" class="secondary" onClick={locate}><Icon name="target" /> {t("guide.near.find")}</button>}
        <a class="button quiet" href={`/map?item=${item}`}>{t("guide.near.map")}</a>
      </div>
    </section>
  );
}
