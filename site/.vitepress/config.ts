import { readFileSync } from "node:fs"
import { defineConfig } from "vitepress"
// Only a type: the content is written by scripts/docs.ts before VitePress starts.
import type { Settings } from "../../scripts/site/assemble.ts"
import { anchorOf } from "../../scripts/site/markdown.ts"

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
  markdown: {
    anchor: { slugify: anchorOf },
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
