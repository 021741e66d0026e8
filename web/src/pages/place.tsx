import { useEffect, useRef, useState } from "preact/hooks";
import { api, authed, type Schemas } from "../api";
import { named, t } from "../i18n";
import { role } from "../session";
import { Icon } from "../ui/icons";

type Entry = Schemas["Entry"];

/** One place of a list: whether it is open, how to get there, and, when opened, where it is known from. */
export function PlaceCard({ place, number, chosen }: { place: Entry; number?: number; chosen?: boolean }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    if (!chosen) return;
    heading.current?.focus({ preventScroll: true });
    heading.current?.scrollIntoView({ block: "nearest" });
  }, [chosen]);
  const kind = named("map.set", place.dataset);
  return (
    <article class={chosen ? "card place chosen" : "card place"}>
      <h2 ref={heading} tabIndex={-1}>{number && <span class="number" aria-hidden="true">{number}</span>}<span>{place.name}</span></h2>
      {kind && <p class="kind">{kind}</p>}
      <p class="facts">
        {place.is_open === true && <b class="open">{t("map.isopen")}{place.end_time ? ` · ~${place.end_time}` : ""}</b>}
        {place.is_open === false && <b class="closed">{t("map.closed")}</b>}
        {place.distance_text && <span>{place.distance_text}</span>}
        {place.residents_only && <span>{t("map.residents")}</span>}
        {place.needs_check && <span>{t("map.check")}</span>}
      </p>
      {place.road_address && <p>{place.road_address}</p>}
      <div class="actions">
        {place.latitude != null && (
          <a class="button secondary" rel="noreferrer" aria-label={`${t("map.way")}: ${place.name}`} href={`https://map.kakao.com/link/to/${encodeURIComponent(place.name)},${place.latitude},${place.longitude}`}>
            <Icon name="way" /> {t("map.way")}
          </a>
        )}
        {place.phone && <a class="button quiet" href={`tel:${place.phone}`}><Icon name="phone" /> {place.phone}</a>}
      </div>
      {place.id >= 0 ? <More place={place} /> : <p class="hint">{t("map.source.kakao")}</p>}
    </article>
  );
}

/** Loaded when opened: hours and place in words, where the facts are from, and a way to say that they are wrong. */
function More({ place }: { place: Entry }) {
  const [detail, setDetail] = useState<Schemas["Detail"] | null>(null);
  const [failed, setFailed] = useState(false);
  const load = (open: boolean) => {
    if (!open || detail) return;
    setFailed(false);
    authed(() => api.GET("/api/v1/locations/centers/{place_id}", { params: { path: { place_id: place.id } } }))
      .then(setDetail)
      .catch(() => setFailed(true));
  };
  const from = detail?.data_source;
  return (
    <details onToggle={(event) => load(event.currentTarget.open)}>
      <summary aria-label={`${t("map.more")}: ${place.name}`}>{t("map.more")}</summary>
      {!detail && <p class="hint" role="status">{failed ? t("error.other.more") : t("loading")}</p>}
      {detail && (
        <>
          {detail.detail && <p>{detail.detail}</p>}
          {detail.opening_hours && <p>{t("map.hours")}: {detail.opening_hours}</p>}
          {detail.collection_items && <p>{t("map.takes")}: {detail.collection_items}</p>}
          {from && <p class="hint">{t("map.from")}: <Source {...from} /></p>}
          {role.value === "guest" ? <p class="hint">{t("map.report.signin")}</p> : <Report place={place.id} />}
        </>
      )}
    </details>
  );
}

/** Institution, title, year and licence of a source, as its licence asks for. */
export function Source({ publisher, title, url, licence, date }: { publisher: string; title: string; url: string; licence: string; date?: string | null }) {
  const year = date ? `, ${date.slice(0, 4)}` : "";
  return <>{publisher}, {url ? <a href={url} rel="noreferrer">{title}</a> : title}{year} ({named("licence", licence) || licence})</>;
}

function Report({ place }: { place: number }) {
  const [said, setSaid] = useState<"ask" | "thanks" | "failed">("ask");
  const say = (kind: Schemas["PlaceReportRequest"]["kind"]) =>
    authed(() => api.POST("/api/v1/locations/{place_id}/feedback", { params: { path: { place_id: place } }, body: { kind } }))
      .then(() => setSaid("thanks"))
      .catch(() => setSaid("failed"));
  if (said === "thanks") return <p role="status">{t("guide.right.thanks")}</p>;
  return (
    <>
      <p class="hint" id={`wrong${place}`}>{t("map.report")}</p>
      <ul class="chips" aria-labelledby={`wrong${place}`}>
        {(["gone", "moved", "wrong_hours", "wrong_items"] as const).map((kind) => <li key={kind}><button type="button" onClick={() => void say(kind)}>{t(`map.report.${kind}`)}</button></li>)}
      </ul>
      {said === "failed" && <p role="alert" class="hint">{t("error.other.more")}</p>}
    </>
  );
}
