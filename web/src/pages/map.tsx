import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { useLocation } from "preact-iso";
import { api, authed, publicly, type Schemas } from "../api";
import { keep, kept } from "../kept";
import { lang, t } from "../i18n";
import { described, type Problem } from "../scan";
import { Icon } from "../ui/icons";
import { Main } from "../ui/layout";
import { ProblemCard } from "../ui/problem";
import type { Area, Cluster, View } from "./map-view";
import { PlaceCard } from "./place";

type Entry = Schemas["Entry"];
type Kind = { id: string; name: string };
/** In a view that is farther away than this, places are counted and not listed. */
const LISTED_FROM = 12;
const RADIUS = { least: 300, most: 20_000 };
/** Places that are brought into view: around somebody, and of a search. */
const FIRST = { around: 5, found: 100 };

/** Places that take a thing, on a map and as a list. Where somebody is stays in this page: it is sent with a search
    and never kept. */
export function Nearby() {
  const { query, route } = useLocation();
  const item = query.item ?? "";
  const [area, setArea] = useState<(Area & { around?: boolean }) | null>(null);
  const [word, setWord] = useState(kept<string>("place") ?? "");
  const [stream, setStream] = useState(query.stream ?? "");
  const [openNow, setOpenNow] = useState(false);
  const [rows, setRows] = useState<Entry[] | null>(null);
  const [clusters, setClusters] = useState<Cluster[]>([]);
  const [chosen, setChosen] = useState<number | null>(null);
  const [fit, setFit] = useState(0);
  const [refused, setRefused] = useState(false);
  const [problem, setProblem] = useState<{ problem: Problem; again: () => void } | null>(null);
  const view = useRef<View | null>(null);
  const asked = useRef(0);
  const thing = useThing(item);
  const taken = thing?.stream ?? stream;

  const find = async <T,>(what: () => Promise<T>, found: (answer: T) => void) => {
    const mine = ++asked.current;
    setProblem(null);
    try {
      const answer = await what();
      if (mine !== asked.current) return;
      setChosen(null);
      found(answer);
    } catch (error) {
      if (mine === asked.current) setProblem({ problem: described(error), again: () => void find(what, found) });
    }
  };
  const look = () => {
    if (!area || (item && !thing)) return;
    const { lat, lon, zoom, bbox } = area;
    const radius = area.around ? RADIUS.most : Math.min(RADIUS.most, Math.max(RADIUS.least, area.radius));
    const near = (found: Entry[]) => {
      setClusters([]);
      setFit(area.around ? FIRST.around : 0);
      setRows(found);
    };
    if (!area.around && zoom < LISTED_FROM) {
      void find(() => authed(() => api.GET("/api/v1/locations/clusters", { params: { query: { bbox, zoom, stream: taken || "all" } } })), (found) => {
        setRows(null);
        setClusters(found);
      });
    } else if (taken) {
      const what = item ? { item } : { stream: taken };
      void find(() => authed(() => api.GET("/api/v1/locations/nearest", { params: { query: { lat, lon, radius, ...what, open_now: openNow, limit: 50 } } })), (found) => near(found.places));
    } else {
      void find(() => authed(() => api.GET("/api/v1/locations/centers", { params: { query: { lat, lon, radius } } })), near);
    }
  };
  useEffect(look, [area, taken, openNow, item]);

  const locate = () => {
    setRefused(false);
    if (!navigator.geolocation) return setRefused(true);
    navigator.geolocation.getCurrentPosition(
      ({ coords: { latitude: lat, longitude: lon } }) => setArea({ ...(view.current?.around(lat, lon) ?? { lat, lon, zoom: LISTED_FROM, bbox: "", radius: 0 }), around: true }),
      () => setRefused(true),
      { timeout: 10000, maximumAge: 60000 },
    );
  };
  /** The map has come; who was located before is gone to. */
  const begun = (at: Area) => setArea((now) => (now?.around ? { ...(view.current?.around(now.lat, now.lon) ?? now), around: true } : at));
  const search = () => {
    const q = word.trim();
    keep("place", q || null);
    if (!q) return;
    void find(() => authed(() => api.GET("/api/v1/locations/search", { params: { query: { q } } })), (found) => {
      setClusters([]);
      setFit(FIRST.found);
      setRows(found);
    });
  };
  const clear = () => {
    setStream("");
    if (item) route("/map");
  };

  // The same list until it changes: the map shows a new one from its beginning.
  const shown = useMemo(() => (openNow ? rows?.filter((one) => one.is_open === true) : rows), [rows, openNow]);
  const numbers = new Map(shown?.map((one, n) => [one.id, n + 1]));
  const listed = shown && [...shown].sort((a, b) => Number(b.id === chosen) - Number(a.id === chosen));
  return (
    <Main title={t("map.title")} lead={t("map.lead")}>
      <form class="search" role="search" onSubmit={(event) => { event.preventDefault(); search(); }}>
        <label for="place">{t("map.search")}</label>
        <div class="field">
          <input id="place" type="search" value={word} placeholder={t("map.search.hint")} enterkeyhint="search" onInput={(event) => setWord(event.currentTarget.value)} />
          <button type="submit" class="secondary" aria-label={t("map.search")}><Icon name="search" /></button>
          <button type="button" class="primary" aria-label={t("map.here")} title={t("map.here")} onClick={locate}><Icon name="target" /></button>
        </div>
      </form>
      {refused && <p role="alert" class="hint">{t("map.refused")}</p>}
      <div class="filters">
        <Kinds value={taken} name={thing?.name ?? ""} choose={(next) => { clear(); setStream(next); }} />
        <label class="switch"><input type="checkbox" checked={openNow} onChange={(event) => setOpenNow(event.currentTarget.checked)} /> {t("map.open")}</label>
      </div>
      <Ground view={view} begun={begun} moved={setArea} chosen={setChosen} places={shown ?? null} clusters={clusters} picked={chosen} fit={fit} />
      {problem && <ProblemCard problem={problem.problem} again={problem.again} />}
      <p class="hint" role="status">{listed ? t("map.found", listed.length) : clusters.length > 0 ? t("map.closer") : ""}</p>
      {listed?.length === 0 && <p class="empty">{openNow ? t("map.none.open") : area?.around ? t("map.none.near") : t("map.none")}</p>}
      <ul class="places" id="places">
        {listed?.map((one) => <li key={one.id}><PlaceCard place={one} number={numbers.get(one.id)} chosen={one.id === chosen} /></li>)}
      </ul>
      <p class="foot"><a href="/about">{t("about.places")}</a></p>
    </Main>
  );
}

type Shown = {
  view: { current: View | null };
  begun: (area: Area) => void;
  moved: (area: Area) => void;
  chosen: (id: number) => void;
  places: Entry[] | null;
  clusters: Cluster[];
  picked: number | null;
  fit: number;
};

/** The map, when its part of the page has come; everything on it is in the list too. */
function Ground({ view, begun, moved, chosen, places, clusters, picked, fit }: Shown) {
  const element = useRef<HTMLDivElement>(null);
  const [state, setState] = useState<"loading" | "shown" | "missing">("loading");
  useEffect(() => {
    let over = false;
    import("./map-view")
      .then(({ createView }) => {
        if (over) return;
        view.current = createView(element.current!, { moved, chosen });
        setState("shown");
        begun(view.current.area());
      })
      .catch(() => !over && setState("missing"));
    return () => {
      over = true;
      view.current?.remove();
      view.current = null;
    };
  }, [lang.value]);
  useEffect(() => {
    if (state !== "shown") return;
    if (places) {
      const points = places.flatMap(({ id, name, latitude, longitude, is_open }, n) => (latitude != null && longitude != null ? [{ id, number: n + 1, name, lat: latitude, lon: longitude, open: is_open ?? null }] : []));
      view.current?.places(points, picked, picked === null ? fit : 0);
    } else view.current?.clusters(clusters);
  }, [state, places, clusters, picked, fit]);
  if (state === "missing") return <p class="hint">{t("map.missing")}</p>;
  return (
    <section class="ground" aria-label={t("map.map")}>
      <a class="skip" href="#places">{t("map.skip")}</a>
      <div ref={element} class="leaflet-ground" role="application" aria-label={t("map.map.keys")} />
    </section>
  );
}

/** What a place takes: the streams that go to one. */
function Kinds({ value, name, choose }: { value: string; name: string; choose: (stream: string) => void }) {
  const [kinds, setKinds] = useState<Kind[]>([]);
  useEffect(() => {
    publicly(api.GET("/api/v1/recycling/streams"))
      .then((rows) => setKinds(rows.filter((one) => ["dropoff", "return", "reuse"].includes(one.kind)).map((one) => ({ id: one.id, name: lang.value === "en" ? one.en : one.ko }))))
      .catch(() => undefined);
  }, [lang.value]);
  return (
    <label class="pick">
      <span class="hidden">{t("map.kind")}</span>
      <select value={value} onChange={(event) => choose(event.currentTarget.value)}>
        <option value="">{t("map.kind.all")}</option>
        {value && !kinds.some((one) => one.id === value) && <option value={value}>{name || value}</option>}
        {kinds.map((one) => <option key={one.id} value={one.id}>{one.name}</option>)}
      </select>
    </label>
  );
}

/** The thing that somebody wants to take away, by the address; its stream decides which places there are. */
function useThing(item: string): { stream: string; name: string } | null {
  const [thing, setThing] = useState<{ stream: string; name: string } | null>(null);
  useEffect(() => {
    setThing(null);
    if (!item) return;
    let over = false;
    publicly(api.GET("/api/v1/recycling/items/{item_id}", { params: { path: { item_id: item } } }))
      .then(({ item: { ko, en }, stream }) => !over && setThing({ stream: stream.id, name: lang.value === "en" ? en : ko }))
      .catch(() => !over && setThing({ stream: "", name: "" }));
    return () => {
      over = true;
    };
  }, [item]);
  return thing;
}
