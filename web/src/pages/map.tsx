import { useEffect, useState } from "preact/hooks";
import { useLocation } from "preact-iso";
import { api, authed, type Schemas } from "../api";
import { keep, kept } from "../kept";
import { named, t } from "../i18n";
import { described, type Problem } from "../scan";
import { Icon } from "../ui/icons";
import { Main } from "../ui/layout";
import { ProblemCard } from "../ui/problem";

type Entry = Schemas["Entry"];
type Here = { lat: number; lon: number };

/** Places that take a thing, the nearest first. Where somebody is stays in this page: it is sent with a search and never kept. */
export function Nearby() {
  const { query } = useLocation();
  const [here, setHere] = useState<Here | null>(null);
  const [word, setWord] = useState("");
  const [openNow, setOpenNow] = useState(false);
  const [rows, setRows] = useState<Entry[] | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [refused, setRefused] = useState(false);
  const item = query.item;

  const locate = () => {
    setRefused(false);
    if (!navigator.geolocation) return setRefused(true);
    navigator.geolocation.getCurrentPosition(
      ({ coords }) => setHere({ lat: coords.latitude, lon: coords.longitude }),
      () => setRefused(true),
      { timeout: 10000, maximumAge: 60000 },
    );
  };
  const find = async (asked: () => Promise<Entry[]>) => {
    setProblem(null);
    try {
      setRows(await asked());
    } catch (error) {
      setProblem(described(error));
    }
  };
  const near = () =>
    here && void find(() =>
      item
        ? authed(() => api.GET("/api/v1/locations/nearest", { params: { query: { ...here, item, open_now: openNow } } })).then((found) => found.places)
        : authed(() => api.GET("/api/v1/locations/centers", { params: { query: { ...here, radius: 5000 } } })),
    );
  useEffect(() => void near(), [here, openNow]);
  const search = () => word.trim() && void find(() => authed(() => api.GET("/api/v1/locations/search", { params: { query: { q: word.trim() } } })));
  useEffect(() => {
    const last = kept<string>("place");
    if (last) setWord(last);
  }, []);

  const shown = openNow && !item ? rows?.filter((one) => one.is_open !== false) : rows;
  return (
    <Main title={t("map.title")} lead={t("map.lead")}>
      <div class="actions"><button type="button" class="primary" onClick={locate}><Icon name="pin" /> {t("map.here")}</button></div>
      {refused && <p role="alert" class="hint">{t("map.refused")}</p>}
      <form class="search" role="search" onSubmit={(event) => { event.preventDefault(); keep("place", word.trim()); search(); }}>
        <label for="place">{t("map.search")}</label>
        <div class="field">
          <input id="place" type="search" value={word} placeholder={t("map.search.hint")} onInput={(event) => setWord(event.currentTarget.value)} />
          <button type="submit" class="secondary" aria-label={t("map.search")}><Icon name="search" /></button>
        </div>
      </form>
      <label class="switch"><input type="checkbox" checked={openNow} onChange={(event) => setOpenNow(event.currentTarget.checked)} /> {t("map.open")}</label>
      {problem && <ProblemCard problem={problem} again={here ? near : search} />}
      <p class="hint" role="status">{shown && t("map.found", shown.length)}</p>
      <ul class="places">
        {shown?.map((one) => (
          <li key={one.id} class="card">
            <h2>{one.name}</h2>
            <p>{one.road_address}</p>
            <p class="facts">
              {one.distance_text && <span>{one.distance_text}</span>}
              {one.is_open === true && <b class="open">{t("map.isopen")}{one.end_time ? ` · ~${one.end_time}` : ""}</b>}
              {one.is_open === false && <span>{t("map.closed")}</span>}
              {one.residents_only && <span>{t("map.residents")}</span>}
              {one.needs_check && <span>{t("map.check")}</span>}
            </p>
            <p class="hint">{[t(`map.source.${one.source}`), named("map.set", one.dataset)].filter(Boolean).join(" · ")}</p>
            <div class="actions">
              {one.phone && <a class="button secondary" href={`tel:${one.phone}`}><Icon name="phone" /> {one.phone}</a>}
              {one.latitude != null && <a class="button secondary" rel="noreferrer" href={`https://map.kakao.com/link/to/${encodeURIComponent(one.name)},${one.latitude},${one.longitude}`}>{t("map.way")}</a>}
            </div>
          </li>
        ))}
      </ul>
    </Main>
  );
}
