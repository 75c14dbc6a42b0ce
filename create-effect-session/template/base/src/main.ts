/**
 * Starts the server. `.env.example` lists its settings.
 */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Config, Layer } from "effect"
import { createServer } from "node:http"
import { AppSession } from "./AppSession.js"
import * as Engine from "./engine.js"
import * as Server from "./server.js"
import * as Users from "./Users.js"

const address = {
  host: Config.withDefault(Config.string("HOST"), "127.0.0.1"),
  port: Config.withDefault(Config.integer("PORT"), 3000)
}

Server.layer.pipe(
  Layer.provide(NodeHttpServer.layerConfig(createServer, address)),
  Layer.provide(Users.layerDemo),
  Layer.provide(AppSession.layerConfig), // the environment can override its settings; the cookie is Secure by default
  Layer.provide(Engine.layer),
  Layer.launch,
  NodeRuntime.runMain
)
