/**
 * Modules in a runtime that has nothing built in.
 */
import { vi } from "@effect/vitest"

/** Loads a module anew, with all that it imports, where the runtime offers nothing. Whoever loads it next gets the usual one. */
export const withoutBuiltins = async <A>(load: () => Promise<A>): Promise<A> => {
  vi.resetModules()
  const builtin = vi.spyOn(process, "getBuiltinModule").mockReturnValue(undefined)
  try {
    return await load()
  } finally {
    builtin.mockRestore()
    vi.resetModules()
  }
}
