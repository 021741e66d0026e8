import { defineConfig } from "vite";

export default defineConfig({
  base: "/",
  // Small files stay files: the Content-Security-Policy allows nothing inline.
  build: { target: "es2022", assetsInlineLimit: 0, modulePreload: { polyfill: false }, reportCompressedSize: false },
  worker: { format: "es" },
  server: { proxy: { "/api": "http://localhost:8080", "/eco2-uploads": "http://localhost:8080", "/eco2-images": "http://localhost:8080" } },
});
