/**
 * Valkey, from the distribution, or on Debian 12 from its backports.
 */
import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import * as Path from "node:path"
import { find, unpacked } from "./programs.js"

/**
 * Unpacks Valkey for Debian 12, which has it in its backports only, without root and without a change of the system: with the archive that
 * the system uses, and apt's own keys. Returns false on other systems.
 */
export const unpackBackport = (): boolean => {
  const release = existsSync("/etc/os-release") ? readFileSync("/etc/os-release", "utf8") : ""
  if (!/^VERSION_CODENAME=bookworm$/m.test(release) || find("apt-get") === undefined) return false
  const folder = Path.resolve(`${unpacked}.new`)
  rmSync(folder, { recursive: true, force: true })
  for (const name of ["lists/partial", "archives/partial", "root"]) {
    mkdirSync(Path.join(folder, name), { recursive: true })
  }
  const targets = [
    "indextargets",
    "--format",
    "$(REPO_URI)",
    "Created-By: Packages",
    "Codename: bookworm",
    "Component: main"
  ]
  const [archive = ""] = execFileSync("apt-get", targets, { encoding: "utf8" }).split("\n")
  const sources = Path.join(folder, "sources.list")
  const key = "/usr/share/keyrings/debian-archive-keyring.gpg"
  writeFileSync(sources, `deb [signed-by=${key}] ${archive} bookworm-backports main\n`)
  const options = {
    "Dir::Etc::sourcelist": sources,
    "Dir::Etc::sourceparts": "/dev/null",
    "Dir::State::lists": Path.join(folder, "lists"),
    "Dir::Cache": folder,
    // Root may write here, and the user of apt's downloads may not.
    "APT::Sandbox::User": ""
  }
  const apt = (...args: ReadonlyArray<string>) =>
    execFileSync("apt-get", [
      ...Object.entries(options).flatMap(([name, value]) => ["-o", `${name}=${value}`]),
      ...args
    ], {
      cwd: folder,
      stdio: "inherit"
    })
  apt("update")
  apt("download", "valkey-server", "valkey-tools")
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".deb"))) {
    execFileSync("dpkg-deb", ["-x", Path.join(folder, file), Path.join(folder, "root")])
  }
  rmSync(unpacked, { recursive: true, force: true })
  // At once, so that an interrupted run leaves nothing that looks complete.
  renameSync(Path.join(folder, "root"), unpacked)
  rmSync(folder, { recursive: true, force: true })
  return true
}
