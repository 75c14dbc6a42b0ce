/**
 * The programs of `docs/recipes.md`, each on a real server with real requests.
 */
import type * as HttpServer from "@effect/platform/HttpServer"
import { it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Option, Record, Ref, TestClock } from "effect"
import * as Path from "node:path"
import { assert, describe } from "vitest"
import * as auditLog from "../examples/recipes/audit-log.js"
import * as csrfFetch from "../examples/recipes/csrf-fetch.js"
import * as csrfForm from "../examples/recipes/csrf-form.js"
import * as impersonation from "../examples/recipes/impersonation.js"
import * as limitDeny from "../examples/recipes/limit-deny.js"
import * as limitOldestOut from "../examples/recipes/limit-oldest-out.js"
import * as logOutEverywhere from "../examples/recipes/log-out-everywhere.js"
import * as login from "../examples/recipes/login.js"
import * as mobileClient from "../examples/recipes/mobile-client.js"
import * as myDevices from "../examples/recipes/my-devices.js"
import * as rememberMe from "../examples/recipes/remember-me.js"
import * as sudoMode from "../examples/recipes/sudo-mode.js"
import * as whyLoggedOut from "../examples/recipes/why-logged-out.js"
import { builtProgram, begun, run } from "./support/cli.js"
import { serve, setCookiesOf } from "./support/httpServer.js"
import { headersOf, type RawAnswer } from "./support/rawHttp.js"
import { temporaryDirectory } from "./support/temporaryDirectories.js"

interface Visit {
  readonly method?: string
  /** The fields of a form, which is sent by POST. */
  readonly form?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
}
