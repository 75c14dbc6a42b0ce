/** The settings of one build, which `site/.vitepress/config.ts` reads. */
export interface Settings {
  readonly title: string
  readonly description: string
  readonly version: string
  readonly repository: string
  readonly homepage: string
  readonly base: string
  readonly sidebar: ReadonlyArray<SidebarGroup>
}

export interface SidebarGroup {
  readonly text: string
  readonly collapsed: boolean
  readonly items: ReadonlyArray<{ readonly text: string; readonly link: string }>
}
