/**
 * Style sheet for light and dark mode.
 */
import { raw } from "./html.js"

export const style = raw(`
    :root {
      color-scheme: light dark;
      --ink: #1d2522; --soft: #5b6762; --paper: #fbfaf6; --line: #d9d8d0; --leaf: #1f6b4a; --on-leaf: #fff;
    }
    @media (prefers-color-scheme: dark) {
      :root { --ink: #e9ece8; --soft: #a5b0aa; --paper: #161b19; --line: #38413d; --leaf: #7fd1a8; --on-leaf: #10201a }
    }
    * { box-sizing: border-box }
    body {
      max-width: 46rem; margin: 0 auto; padding: 0 1rem 4rem;
      font: 1rem/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper);
    }
    header, nav, .row { display: flex; flex-wrap: wrap; align-items: baseline; gap: .5rem 1.25rem }
    header { justify-content: space-between; padding: 1rem 0; border-bottom: 1px solid var(--line) }
    .brand { font-weight: 700; text-decoration: none; color: var(--ink) }
    .soft, caption { color: var(--soft) }
    h1 { margin: 2rem 0 1rem; font-size: 1.6rem; line-height: 1.2 }
    h2 { margin: 2rem 0 .5rem; font-size: 1.15rem }
    a { color: var(--leaf) }
    h1, .link { overflow-wrap: anywhere }
    :focus-visible { outline: 3px solid var(--leaf); outline-offset: 2px }

    .products, .devices { margin: 0; padding: 0; list-style: none }
    .products li, .devices li {
      display: grid; grid-template-columns: 1fr auto auto; gap: 0 1.25rem; align-items: center;
      padding: .9rem 0; border-bottom: 1px solid var(--line);
    }
    .devices li { grid-template-columns: 1fr auto }
    :is(.products, .devices) :is(h2, p) { margin: 0 }
    .price, .number { text-align: right; font-variant-numeric: tabular-nums }

    form { margin: 0 }
    label { display: block; margin: 1rem 0 .25rem }
    input, button { padding: .4rem .9rem; border: 1px solid var(--leaf); border-radius: .4rem; font: inherit }
    input { width: 100%; max-width: 20rem; color: inherit; background: none }
    button { background: var(--leaf); color: var(--on-leaf); cursor: pointer }
    button.plain { background: none; color: var(--leaf) }
    button.plain[aria-pressed=true] { font-weight: 700; border-width: 2px }
    button.link {
      padding: 0; border: 0; background: none; color: var(--leaf); text-align: start; text-decoration: underline;
    }
    .row { margin-top: 1.5rem }

    table { width: 100%; margin: .5rem 0; border-collapse: collapse }
    caption { text-align: left }
    th, td { padding: .45rem .5rem .45rem 0; border-bottom: 1px solid var(--line); overflow-wrap: anywhere }
    :is(th, td):last-child { padding-right: 0 }
    th:not(.number), td:not(.number) { text-align: left }
    pre { padding: .9rem; overflow-x: auto; border: 1px solid var(--line); border-radius: .4rem }
    dt { font-weight: 600 }
    dd { margin: 0 0 .6rem; overflow-wrap: anywhere }
    .choice { display: flex; gap: .5rem; align-items: baseline }
    .choice input { width: auto }
    .sides { display: grid; grid-template-columns: 1fr 1fr; gap: 1.25rem; overflow-wrap: anywhere }
    footer { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid var(--line) }
    [role=status] { padding: .6rem .9rem; border-left: 4px solid var(--leaf) }
    [role=alert] { padding: .6rem .9rem; border-left: 4px solid #b3452c }
  `)
