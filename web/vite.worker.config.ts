// The service worker: one file at a fixed address, since the address is what a browser asks for updates by.
import { defineConfig } from "vite";

export default defineConfig({
  publicDir: false,
  build: {
    target: "es2022",
    emptyOutDir: false,
    reportCompressedSize: false,
    rollupOptions: { input: "src/sw.ts", output: { entryFileNames: "sw.js", format: "es" } },
  },
});
