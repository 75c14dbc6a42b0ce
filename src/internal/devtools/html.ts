/**
 * HTML templates that escape every value that is not HTML already.
 */

/** A piece of HTML. Only {@link html} and {@link trusted} make one. */
export class Html {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

type Value = string | number | Html | undefined | ReadonlyArray<Html>

/** Makes a piece of HTML from a template. `undefined` is nothing. */
export const html = (strings: TemplateStringsArray, ...values: ReadonlyArray<Value>): Html =>
  new Html(strings.reduce((text, string, index) => text + render(values[index - 1]) + string))

/** Marks constant text of this library, which needs no escaping. */
export const trusted = (text: string): Html => new Html(text)

const render = (value: Value): string =>
  value === undefined
    ? ""
    : value instanceof Html
    ? value.text
    : typeof value === "object"
    ? value.map(render).join("")
    : String(value).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
