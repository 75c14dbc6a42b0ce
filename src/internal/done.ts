/**
 * Combinators that continue synchronously if an effect has already succeeded or failed, so that an engine inside the process needs no fiber
 * step. Other effects are composed as by the functions of `Effect` with the same names. Call them inside a running effect
 * (`Effect.suspend`, `Effect.withFiberRuntime`): the work may be done when they are called.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as Tracer from "effect/Tracer"

/** The fiber that runs an effect. */
export type RuntimeFiber = Fiber.RuntimeFiber<unknown, unknown>

/** Returns the clock from the services of a fiber: `clockIn(fiber.currentDefaultServices)`. */
export const clockIn: (services: Context.Context<DefaultServices.DefaultServices>) => Clock.Clock = Context.get(
  Clock.Clock
)

/** Returns the time in milliseconds since the epoch, by the clock of a fiber. */
export const millisOf = (fiber: RuntimeFiber): number => clockIn(fiber.currentDefaultServices).unsafeCurrentTimeMillis()

const nativeTracer = Context.get(DefaultServices.liveServices, Tracer.Tracer)

/** Returns whether a fiber has a tracer other than Effect's default one, whose spans are never exported. */
export const isTraced = (fiber: RuntimeFiber): boolean =>
  fiber.currentTracer !== nativeTracer && fiber.getFiberRef(FiberRef.currentTracerEnabled)

/** Returns whether an effect is an `Exit`. */
export const isDone = Exit.isExit as <A, E, R>(self: Effect.Effect<A, E, R>) => self is Exit.Exit<A, E>

/** Converts an `Either` to an `Exit`, and returns other effects unchanged. */
export const fromEither = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Either.isEither(self) ? Either.match(self as Either.Either<A, E>, { onLeft: Exit.fail, onRight: Exit.succeed }) : self

export const flatMap = <A, E, R, B, E1, R1>(
  self: Effect.Effect<A, E, R>,
  f: (value: A) => Effect.Effect<B, E1, R1>
): Effect.Effect<B, E | E1, R | R1> =>
  isDone(self) ? Exit.isSuccess(self) ? f(self.value) : Exit.failCause(self.cause) : Effect.flatMap(self, f)

export const map = <A, E, R, B>(self: Effect.Effect<A, E, R>, f: (value: A) => B): Effect.Effect<B, E, R> =>
  isDone(self) ? Exit.isSuccess(self) ? Exit.succeed(f(self.value)) : Exit.failCause(self.cause) : Effect.map(self, f)

export const matchEffect = <A, E, R, B, E1, R1, C, E2, R2>(
  self: Effect.Effect<A, E, R>,
  options: {
    readonly onFailure: (error: E) => Effect.Effect<B, E1, R1>
    readonly onSuccess: (value: A) => Effect.Effect<C, E2, R2>
  }
): Effect.Effect<B | C, E1 | E2, R | R1 | R2> =>
  isDone(self) && Exit.isSuccess(self) ? options.onSuccess(self.value) : Effect.matchEffect(self, options)

export const mapError = <A, E, R, E1>(
  self: Effect.Effect<A, E, R>,
  f: (error: E) => E1
): Effect.Effect<A, E1, R> => isDone(self) && Exit.isSuccess(self) ? Exit.succeed(self.value) : Effect.mapError(self, f)

/** Runs an effect for each value, in order, until one fails. */
export const reduce = <A, B, E, R>(
  values: ReadonlyArray<A>,
  zero: B,
  f: (state: B, value: A) => Effect.Effect<B, E, R>
): Effect.Effect<B, E, R> => {
  let state = zero
  for (let i = 0; i < values.length; i++) {
    const next = f(state, values[i] as A)
    if (!isDone(next)) {
      return Effect.flatMap(next, (state) => Effect.suspend(() => reduce(values.slice(i + 1), state, f)))
    }
    if (Exit.isFailure(next)) return Exit.failCause(next.cause)
    state = next.value
  }
  return Exit.succeed(state)
}
