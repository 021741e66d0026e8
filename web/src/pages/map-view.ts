// The map itself, in a chunk of its own: Leaflet is loaded when the page of places is opened.
import "leaflet/dist/leaflet.css";
import { control, divIcon, layerGroup, map as leafletMap, marker, tileLayer, type LatLngBoundsExpression, type Marker } from "leaflet/dist/leaflet-src.esm.js";
import { lang, t } from "../i18n";
import { PROVINCES } from "./provinces";

export type Area = { lat: number; lon: number; zoom: number; bbox: string; radius: number };
export type Point = { id: number; number: number; name: string; lat: number; lon: number; open: boolean | null };
export type Cluster = { latitude: number; longitude: number; count: number };
export type Told = { moved(area: Area): void; chosen(id: number): void };
export type View = ReturnType<typeof createView>;

const KOREA: LatLngBoundsExpression = [[33.0, 124.5], [38.7, 131.0]];
const AROUND: LatLngBoundsExpression = [[30, 119], [42, 136]];
const CLOSE = 15;
/** Metres from which a place is far away from the person. */
const FAR = 30_000;
const meta = (name: string): string => document.querySelector<HTMLMetaElement>(`meta[name="${name}"]`)?.content ?? "";

/** Without tiles the ground is plain, with the names of provinces to go by. `told` hears of moves of the person only. */
export function createView(element: HTMLElement, told: Told) {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const map = leafletMap(element, {
    zoomControl: false, attributionControl: false, minZoom: 6, maxZoom: 18, maxBounds: AROUND,
    zoomAnimation: !still, fadeAnimation: !still, markerZoomAnimation: !still, inertia: !still,
  });
  control.zoom({ zoomInTitle: t("map.in"), zoomOutTitle: t("map.out") }).addTo(map);
  control.scale({ imperial: false }).addTo(map);
  const tiles = meta("eco2-map-tiles");
  if (tiles) {
    tileLayer(tiles, { maxZoom: 18, attribution: "" }).addTo(map);
    const credit = control.attribution({ prefix: false }).addTo(map);
    credit.getContainer()!.textContent = meta("eco2-map-credit");
  } else {
    for (const [ko, en, lat, lon] of PROVINCES) {
      const name = document.createElement("span");
      name.ariaHidden = "true";
      name.textContent = lang.value === "en" ? en : ko;
      marker([lat, lon], { icon: divIcon({ className: "region", html: name, iconSize: undefined }), pane: "overlayPane", interactive: false, keyboard: false }).addTo(map);
    }
  }
  const points = layerGroup().addTo(map);
  const you = layerGroup().addTo(map);
  let here: [number, number] | null = null;

  /** Moves of the page itself are not told. */
  let own = 0;
  const quietly = (move: () => void): void => {
    own++;
    move();
    own--;
  };
  const area = (): Area => {
    const { lat, lng } = map.getCenter();
    const bounds = map.getBounds();
    const bbox = [bounds.getWest(), bounds.getSouth(), bounds.getEast(), bounds.getNorth()].map((one) => one.toFixed(4)).join(",");
    return { lat, lon: lng, zoom: map.getZoom(), bbox, radius: Math.round(map.distance(bounds.getCenter(), bounds.getNorthEast())) };
  };
  /** What gets the focus comes into view; places are not searched anew for that, which would take the focus away. */
  const add = (spot: Marker, name: string): void => {
    spot.addTo(points);
    // Its text is a number, which would be all that is read out.
    spot.getElement()?.setAttribute("aria-label", name);
    spot.getElement()?.addEventListener("focus", () => quietly(() => map.panInside(spot.getLatLng(), { animate: false, padding: [30, 30] })));
  };
  quietly(() => map.fitBounds(KOREA, { animate: false }));
  map.on("moveend", () => own === 0 && told.moved(area()));

  return {
    area,
    around(lat: number, lon: number): Area {
      quietly(() => map.setView([lat, lon], CLOSE, { animate: false }));
      here = [lat, lon];
      you.clearLayers();
      marker([lat, lon], { icon: divIcon({ className: "you", iconSize: [18, 18] }), interactive: false, keyboard: false }).addTo(you);
      return area();
    },
    /** `fit`: so many of the first places, and the person, are to be seen. */
    places(rows: Point[], chosen: number | null, fit: number): void {
      points.clearLayers();
      for (const one of rows) {
        const kind = `pin${one.open ? " open" : ""}${one.id === chosen ? " chosen" : ""}`;
        const number = document.createElement("span");
        number.textContent = String(one.number);
        const icon = divIcon({ className: kind, html: number, iconSize: [32, 32], iconAnchor: [16, 38] });
        const pin = marker([one.lat, one.lon], { icon, autoPanOnFocus: false, title: one.name, zIndexOffset: one.id === chosen ? 1000 : -one.number });
        pin.on("click", () => told.chosen(one.id)).on("keypress", (event) => {
          if ((event as unknown as { originalEvent: KeyboardEvent }).originalEvent.key === "Enter") told.chosen(one.id);
        });
        add(pin, `${one.number}. ${one.name}`);
      }
      const seen = rows.slice(0, fit).map((one): [number, number] => [one.lat, one.lon]);
      if (here && seen.length > 0 && map.distance(here, seen[0]!) < FAR) seen.push(here);
      if (seen.length > 0) quietly(() => map.fitBounds(seen, { animate: false, maxZoom: CLOSE, paddingTopLeft: [40, 56], paddingBottomRight: [40, 24] }));
    },
    clusters(rows: Cluster[]): void {
      points.clearLayers();
      for (const [n, one] of rows.entries()) {
        const size = one.count < 10 ? 34 : one.count < 100 ? 42 : 52;
        const number = document.createElement("span");
        number.textContent = String(one.count);
        const into = () => map.setView([one.latitude, one.longitude], Math.min(map.getZoom() + 2, CLOSE), { animate: !still });
        const spot = marker([one.latitude, one.longitude], { icon: divIcon({ className: "cluster", html: number, iconSize: [size, size] }), autoPanOnFocus: false, title: t("map.cluster", one.count) });
        spot.on("click", into).on("keypress", (event) => {
          if ((event as unknown as { originalEvent: KeyboardEvent }).originalEvent.key === "Enter") into();
        });
        add(spot, `${n + 1}. ${province(one.latitude, one.longitude)}: ${t("map.cluster", one.count)}`);
      }
    },
    remove(): void {
      map.remove();
    },
  };
}

/** The province whose middle is nearest: enough to tell numbers on a map apart. */
function province(lat: number, lon: number): string {
  const away = ([, , y, x]: (typeof PROVINCES)[number]) => (y - lat) ** 2 + (x - lon) ** 2;
  const [ko, en] = PROVINCES.reduce((near, one) => (away(one) < away(near) ? one : near));
  return lang.value === "en" ? en : ko;
}
