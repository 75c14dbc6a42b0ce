/**
 * A tracer that records all that it receives.
 */
import { Effect, type Exit, Option, Tracer } from "effect"

export interface RecordedSpan {
  readonly name: string
  readonly parent: string | undefined
  readonly attributes: Map<string, unknown>
  /** Options, events and links. */
  readonly more: Array<unknown>
  readonly begun: bigint
  ended?: bigint
  exit?: Exit.Exit<unknown, unknown>
}

/** `before` runs at the begin and at the end of each span, and may throw. */
export const recording = (before = { span: (): void => undefined, end: (): void => undefined }) => {
  const spans: Array<RecordedSpan> = []
  const tracer = Tracer.make({
    span: (name, parent, context, links, startTime, kind, options) => {
      before.span()
      const span: RecordedSpan = {
        name,
        parent: Option.getOrUndefined(
          Option.map(parent, (parent) => parent._tag === "Span" ? parent.name : "external")
        ),
        attributes: new Map(),
        more: [options, links],
        begun: startTime
      }
      spans.push(span)
      return {
        _tag: "Span",
        name,
        spanId: String(spans.length),
        traceId: "trace",
        parent,
        context,
        status: { _tag: "Started", startTime },
        attributes: span.attributes,
        links,
        sampled: true,
        kind,
        end: (endTime, exit) => {
          before.end()
          Object.assign(span, { ended: endTime, exit })
        },
        attribute: (key, value) => void span.attributes.set(key, value),
        event: (...event) => void span.more.push(event),
        addLinks: (links) => void span.more.push(links)
      }
    },
    context: (run) => run()
  })
  return { spans, traced: Effect.withTracer(tracer) }
}
