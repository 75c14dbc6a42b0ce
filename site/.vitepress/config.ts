import { readFileSync } from "node:fs"
import { defineConfig } from "vitepress"
import { anchorOf } from "../../scripts/site/markdown.ts"
import type { Settings } from "../../scripts/site/settings.ts"

// scripts/docs.ts writes it before it starts VitePress.
const settings: Settings = JSON.parse(readFileSync(new URL("../.content/site.json", import.meta.url), "utf8"))

export default defineConfig({
  srcDir: ".content",
  outDir: "dist",
  base: settings.base,
  lang: "en",
  title: settings.title,
  description: settings.description,
  head: [["link", { rel: "icon", type: "image/svg+xml", href: `${settings.base}favicon.svg` }]],
  sitemap: { hostname: settings.homepage },
  metaChunk: true,
  // The index of the search is one file of 1.3 MB, which is loaded when a visitor searches.
  vite: { build: { chunkSizeWarningLimit: 3000 } },
  markdown: {
    anchor: { slugify: anchorOf },
    // The highlighter does not know it; its blocks look the same.
    languageAlias: { caddyfile: "nginx" },
    theme: { light: "github-light", dark: "github-dark" }
  },
  themeConfig: {
    nav: [
      { text: "Concepts", link: "/concepts" },
      { text: "Recipes", link: "/recipes" },
      { text: "API", link: "/api/" },
      { text: settings.version, link: "/changelog" }
    ],
    sidebar: settings.sidebar.map((group) => ({ ...group, items: [...group.items] })),
    outline: [2, 3],
    socialLinks: [{ icon: "github", link: settings.repository }],
    search: { provider: "local" },
    footer: { message: "MIT" }
  }
})
