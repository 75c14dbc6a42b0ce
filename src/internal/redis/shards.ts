/**
 * A part of a Redis store whose keys are always together: all of them on one node, one of 64 in a Cluster.
 */
import type { SessionId } from "../../SessionId.js"
import type { StoreKey } from "../../StoreKey.js"
import { spell } from "./record.js"

/** The names of a shard's keys. */
export interface Shard {
  /** The text in braces, by which a Cluster finds the node. */
  readonly tag: string
  readonly record: (key: string) => string
  readonly ids: string
  readonly subjects: string
  readonly ends: string
  readonly epochs: string
  readonly outlived: string
  /** In a Cluster only. */
  readonly places: string
  readonly due: string
}

/** The characters that a store key, or an id, can begin with, in the order in which Redis and JavaScript sort them. */
const characters = [..."-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"]

export interface Shards {
  readonly all: readonly [Shard, ...ReadonlyArray<Shard>]
  /** Where the record of a key is, unless it was moved there; and where the place of an id is noted. */
  readonly of: (name: StoreKey | SessionId) => Shard
  readonly tagged: (tag: string | undefined) => Shard | undefined
}

/** The shards of a store. On one node everything is together, so that one script sees it all. */
export const shards = (prefix: string, cluster: boolean): Shards => {
  const one = shard(prefix, "all")
  if (!cluster) return { all: [one], of: () => one, tagged: () => one }
  const byTag = new Map(characters.map((tag) => [tag, shard(prefix, tag)]))
  const [first = one, ...others] = byTag.values()
  return {
    all: [first, ...others],
    of: (name) => byTag.get(name.charAt(0)) ?? first,
    tagged: (tag = "") => byTag.get(tag)
  }
}

const shard = (prefix: string, tag: string): Shard => {
  const name = (rest: string) => `${prefix}{${tag}}:${rest}`
  return {
    tag,
    record: name,
    ids: name("ids"),
    subjects: name("subjects"),
    ends: name("ends"),
    epochs: name("epochs"),
    outlived: name("outlived"),
    places: name("places"),
    due: name("due")
  }
}

const utf8 = new TextEncoder()

/** What begins every index entry of a namespace. Its length in bytes keeps it apart from what follows. */
export const scopeOf = (namespace: string): string => lengthPrefixed(spell(namespace))

/** What names a subject among the epochs. */
export const subjectScopeOf = (namespace: string, subject: string): string => `${scopeOf(namespace)}:${spell(subject)}`

/** What begins every index entry of a subject. */
export const subjectPrefixOf = (namespace: string, subject: string): string =>
  `${scopeOf(namespace)}${lengthPrefixed(spell(subject))}`

/** What names an id in indexes; a space and its place follow. */
export const idOf = (namespace: string, id: SessionId): string => `${scopeOf(namespace)}${id}`

const lengthPrefixed = (text: string) => `${utf8.encode(text).length}:${text}`
