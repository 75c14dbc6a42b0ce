/**
 * Cost of a session in memory for a request, in process. `npm run bench -- in-process`
 */
import { floor, ours } from "./contenders.js"
import { options } from "./harness.js"
import { atMost, type Budget, publish } from "./report.js"
import { measureRequests } from "./requests.js"

const rounds = options.rounds(25)
const { contenders, noise, of, plots, tables, tax } = await measureRequests({ _tag: "memory" }, rounds)

const aheadOf = (scenario: "read" | "modify"): ReadonlyArray<Budget> => {
  const peers = contenders.filter((name) => name !== ours && name !== floor)
  const best = Math.min(...peers.map((name) => tax(name, scenario)))
  return peers.length === 0
    ? []
    : [atMost(`${scenario}: adds less than the best peer adds, µs`, tax(ours, scenario), best)]
}

publish({
  name: "in-process",
  title: "In process, sessions in memory",
  about:
    "One request at a time through the whole application, without a socket; a session of 591 bytes of JSON. Each " +
    "contender has its own process, and they run one after another. `hello` is a route of the same application without a session.",
  rounds,
  noise,
  tables,
  plots,
  budgets: [
    atMost("read: whole request to the floor", of(ours, "read").median / of(floor, "read").median, 1.2),
    atMost("modify: whole request to the floor", of(ours, "modify").median / of(floor, "modify").median, 1.3),
    ...aheadOf("read"),
    ...aheadOf("modify")
  ]
})
