/// <reference types="vite/client" />

// The build of Leaflet that bundlers read has no types of its own.
declare module "leaflet/dist/leaflet-src.esm.js" {
  export * from "leaflet";
}
