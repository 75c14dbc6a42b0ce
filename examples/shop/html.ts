/**
 * HTML in which nothing that was put in can break out: every value is escaped, unless it is HTML already.
 */

/** A piece of HTML. Only `html` and `raw` make one. */
export class Html {
  constructor(readonly text: string) {}
}

type Value = string | number | Html | ReadonlyArray<Html>

export const html = (strings: TemplateStringsArray, ...values: ReadonlyArray<Value>): Html =>
  new Html(strings.reduce((text, string, index) => text + render(values[index - 1] ?? "") + string))

/** For text of our own that is no HTML and needs no escaping, such as a style sheet. */
export const raw = (text: string): Html => new Html(text)

const render = (value: Value): string =>
  value instanceof Html
    ? value.text
    : typeof value === "object"
    ? value.map(render).join("")
    : String(value).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
