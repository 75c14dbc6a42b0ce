/**
 * HTML templates that escape every value that is not HTML already.
 */

/** A piece of HTML. Only `html` and `raw` make one. */
export class Html {
  constructor(readonly text: string) {}
}

type Value = string | number | Html | ReadonlyArray<Html>

export const html = (strings: TemplateStringsArray, ...values: ReadonlyArray<Value>): Html =>
  new Html(strings.reduce((text, string, index) => text + render(values[index - 1] ?? "") + string))

/** Marks trusted text, such as a style sheet, that needs no escaping. */
export const raw = (text: string): Html => new Html(text)

const render = (value: Value): string =>
  value instanceof Html
    ? value.text
    : typeof value === "object"
    ? value.map(render).join("")
    : String(value).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
