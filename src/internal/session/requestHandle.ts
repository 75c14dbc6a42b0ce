/**
 * A handle with what the front end of a request asks of it.
 */
import type { OwedCookie } from "./commit.js"
import type { Core } from "./core.js"
import { Handle } from "./handle.js"
import type { LiveSession } from "./live.js"
import type { Taking } from "./taking.js"

export class RequestHandle<A extends object> extends Handle<A> {
  readonly #live: LiveSession<A>

  constructor(core: Core<A>, live: LiveSession<A>, taking?: Taking) {
    super(core, live, taking)
    this.#live = live
  }

  get accessed(): boolean {
    return this.#live.accessed
  }

  get owed(): OwedCookie | undefined {
    return this.#live.owed
  }

  get uncacheable(): boolean {
    return this.#live.uncacheable
  }

  get retryAfter(): number | undefined {
    return this.#live.retryAfter
  }

  get finish() {
    return (status: number) => this.#live.finish(status)
  }

  get detach() {
    return () => this.#live.detach()
  }
}
