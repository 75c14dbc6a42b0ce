/**
 * Loads modules as in a runtime without built-in modules.
 */
import { vi } from "@effect/vitest"

/** Loads a new instance of a module and its imports, without built-in modules. Later imports get normal instances again. */
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
