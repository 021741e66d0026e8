// After the build: compress every file once, write the manifest that the `web` process serves from, and tell the
// service worker which files belong to this build.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { extname, join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const DIST = new URL("../dist/", import.meta.url).pathname;
const TYPES = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".jpg": "image/jpeg",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".png": "image/png",
  ".svg": "image/svg+xml",
  ".webmanifest": "application/manifest+json",
};
const HASHED = /^\/assets\/.+-[\w-]{8}\.\w+$/;

const digest = (body) => createHash("sha256").update(body).digest("hex").slice(0, 24);
const names = readdirSync(DIST, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name).slice(DIST.length))
  .sort();

/** The map's part is fetched by whoever opens the map. */
const LARGE = /^assets\/map-view-/;
const kept = names.filter((name) => HASHED.test(`/${name}`) && /\.(js|css)$/.test(name) && !LARGE.test(name)).map((name) => `/${name}`);
const worker = join(DIST, "sw.js");
const shell = readFileSync(join(DIST, "index.html"));
const build = digest(JSON.stringify(kept) + digest(shell));
const source = readFileSync(worker, "utf8").replace("__BUILD__", build).replace(/["'`]__KEPT__["'`]/, JSON.stringify(JSON.stringify(kept)));
writeFileSync(worker, source);

const files = {};
for (const name of names) {
  const type = TYPES[extname(name)];
  if (!type) throw new Error(`${name}: no content type for files of this kind`);
  const body = readFileSync(join(DIST, name));
  const encodings = { "": name };
  const smaller = (encoding, packed, suffix) => {
    if (packed.length >= body.length) return;
    writeFileSync(join(DIST, name + suffix), packed);
    encodings[encoding] = name + suffix;
  };
  if (!/\.(png|jpg)$/.test(name)) {
    smaller("br", brotliCompressSync(body, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }), ".br");
    smaller("gzip", gzipSync(body, { level: 9 }), ".gz");
  }
  files[`/${name}`] = { type, etag: digest(body), immutable: HASHED.test(`/${name}`), encodings };
}
writeFileSync(join(DIST, "manifest.json"), JSON.stringify({ build, files }, null, 1));
