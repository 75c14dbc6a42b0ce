/**
 * The dashboard and the alerts of `docs/operations` use metrics and labels that the library exports, under the names that an exporter to
 * Prometheus gives them.
 */
import * as Metrics from "@effect/opentelemetry/Metrics"
import * as OtelResource from "@effect/opentelemetry/Resource"
import { it } from "@effect/vitest"
import { PrometheusSerializer } from "@opentelemetry/exporter-prometheus"
import { Effect } from "effect"
import { MemoryStore, SessionMetrics } from "effect-session"
import { freshKey, start } from "effect-session/Fixtures"
import * as ObservedStore from "effect-session/ObservedStore"
import * as SessionReaper from "effect-session/SessionReaper"
import { readFileSync } from "node:fs"
import { assert, describe } from "vitest"

const dashboardFile = "docs/operations/grafana-dashboard.json"
const alertsFile = "docs/operations/alerts.yml"

/** The series of Prometheus: the labels of each, with their values. */
type Exported = ReadonlyMap<string, ReadonlyMap<string, ReadonlySet<string>>>

/** Exports all metrics of the library, as a server of Prometheus would read them. */
const exported: Effect.Effect<Exported> = Effect.gen(function*() {
  yield* Effect.orDie(ObservedStore.make(MemoryStore.make()).load(freshKey(), start))
  for (const metric of [...Object.values(SessionMetrics), SessionReaper.removals, SessionReaper.failures]) {
    metric.unsafeValue([]) // registers it
  }
  const producer = yield* Effect.provide(Metrics.makeProducer, OtelResource.layer({ serviceName: "shop" }))
  const { resourceMetrics } = yield* Effect.promise(() => producer.collect())
  const text = new PrometheusSerializer("", false).serialize(resourceMetrics)
  const series = new Map<string, Map<string, Set<string>>>()
  for (const [, name = "", labels = ""] of text.matchAll(/^(session_\w+)(?:\{(.*)\})? /gm)) {
    const all = series.get(name) ?? new Map<string, Set<string>>()
    series.set(name, all)
    for (const [, label = "", value = ""] of labels.matchAll(/(\w+)="([^"]*)"/g)) {
      all.set(label, (all.get(label) ?? new Set()).add(value))
    }
  }
  return series
})

const expressionsIn = (file: string): ReadonlyArray<string> => {
  const text = readFileSync(file, "utf8")
  return file.endsWith(".json")
    ? [...text.matchAll(/"expr": ("(?:[^"\\]|\\.)*")/g)].map(([, expr = ""]) => JSON.parse(expr))
    : [...text.matchAll(/^ +expr: (.+)$/gm)].map(([, expr = ""]) => expr)
}

/** The series of an expression, each with its label matchers, and the labels by which it aggregates. */
const usesIn = (expression: string) => ({
  series: [...expression.matchAll(/\b(session_\w+)(?:\{([^}]*)\})?/g)].map(([, name = "", matchers = ""]) => ({
    name,
    matchers: [...matchers.matchAll(/(\w+)(?:=|=~|!=|!~)"([^"]*)"/g)].map(([, label = "", value = ""]) => ({
      label,
      values: value.split("|")
    }))
  })),
  by: [...expression.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, labels = ""]) => labels.split(/, */))
})

/** Labels whose values come from calls that happen at run time, and not from a list. */
const openLabels = new Set(["operation", "outcome", "tier"])

/** Labels that Prometheus adds to each series. */
const ofPrometheus = new Set(["instance", "job"])

for (const file of [dashboardFile, alertsFile]) {
  describe(file, () => {
    it.effect("uses exported metrics and labels only", () =>
      Effect.gen(function*() {
        const known = yield* exported
        const expressions = expressionsIn(file)
        assert.isAtLeast(expressions.length, 6)
        for (const expression of expressions) {
          const { by, series } = usesIn(expression)
          assert.isAbove(series.length, 0, expression)
          for (const { matchers, name } of series) {
            const labels = known.get(name)
            if (labels === undefined) return assert.fail(`${name} is not exported: ${[...known.keys()].join(", ")}`)
            for (const { label, values } of matchers) {
              const exportedValues = labels.get(label)
              if (exportedValues === undefined) return assert.fail(`${name} has no label ${label}: ${expression}`)
              if (!openLabels.has(label)) assert.includeMembers([...exportedValues], values, expression)
            }
            for (const label of by) {
              assert.isTrue(
                labels.has(label) || ofPrometheus.has(label),
                `${name} has no label ${label}: ${expression}`
              )
            }
          }
        }
      }))
  })
}

describe(dashboardFile, () => {
  it.effect("shows every metric of the library", () =>
    Effect.gen(function*() {
      const shown = new Set(
        expressionsIn(dashboardFile).flatMap((expression) => usesIn(expression).series.map(({ name }) => name))
      )
      const family = (name: string) => name.replace(/_(?:bucket|sum|count)$/, "")
      const families = new Set([...shown].map(family))
      assert.deepStrictEqual([...(yield* exported).keys()].filter((name) => !families.has(family(name))), [])
    }))
})

describe(alertsFile, () => {
  it("each alert has a duration, a summary, and a row in docs/operations.md with the remedy", () => {
    const text = readFileSync(alertsFile, "utf8")
    const page = readFileSync("docs/operations.md", "utf8")
    const rules = text.split(/^ +- alert: /m).slice(1)
    assert.isAtLeast(rules.length, 6)
    for (const rule of rules) {
      const [name = ""] = rule.split("\n", 1)
      for (const field of ["expr", "for", "severity", "summary", "action"]) {
        assert.match(rule, new RegExp(`^ +${field}: \\S`, "m"), `${name}: ${field}`)
      }
      assert.include(page, `\`${name}\``)
    }
  })
})
