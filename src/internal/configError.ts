/**
 * Makes the errors of an invalid configuration, each with its entry of the troubleshooting page.
 */
import { SessionConfigError } from "../SessionConfigError.js"
import type { HelpId } from "./help.js"

/** Makes a `SessionConfigError`. The compiler rejects an id that `docs/troubleshooting.md` does not explain. */
export const configError = (subject: string, problem: string, help: HelpId): SessionConfigError =>
  new SessionConfigError({ subject, problem, help })

/** A problem of a configuration, with its entry of the troubleshooting page. */
export type Problem = readonly [problem: string, help: HelpId]
