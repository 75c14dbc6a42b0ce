/**
 * HTML templates that escape every value that is not HTML already.
 */

export class Html {
  constructor(readonly text: string) {}
}

type Value = string | Html | ReadonlyArray<Html>

export const html = (strings: TemplateStringsArray, ...values: ReadonlyArray<Value>): Html =>
  new Html(strings.reduce((text, string, index) => text + render(values[index - 1] ?? "") + string))

const render = (value: Value): string =>
  value instanceof Html
    ? value.text
    : typeof value === "string"
    ? value.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
    : value.map(render).join("")
