/**
 * Counts events by the metrics of the library.
 */
import * as Metric from "effect/Metric"
import * as SessionMetrics from "../SessionMetrics.js"
import type {
  CacheAnswer,
  FillOutcome,
  ForgeryReason,
  InvalidationOutcome,
  RejectionReason
} from "./domain/outcomes.js"

export const countInvalidation = (outcome: InvalidationOutcome) =>
  Metric.update(SessionMetrics.cacheInvalidations, outcome)

export const countCacheRead = (answer: CacheAnswer) => Metric.update(SessionMetrics.cacheReads, answer)

export const countFill = (outcome: FillOutcome) => Metric.update(SessionMetrics.cacheFills, outcome)

export const countRejection = (reason: RejectionReason): void => SessionMetrics.rejections.unsafeUpdate(reason, [])

export const countForgery = (reason: ForgeryReason) => Metric.update(SessionMetrics.csrfRejections, reason)

export const countDroppedEvent = (): void => SessionMetrics.droppedEvents.unsafeUpdate(1, [])
