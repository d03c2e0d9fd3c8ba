// @sparticuz/chromium → browser/, a Chromium for the tests, on Linux with x86-64 processors.
//
// The package holds the browser itself, so that npm's lock file decides its version, and nothing
// else is downloaded. Elsewhere the tests use an installed browser.

import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliDecompressSync } from "node:zlib";

const folder = dirname(fileURLToPath(import.meta.url));
const source = join(folder, "node_modules/@sparticuz/chromium/bin");
const target = join(folder, "browser");

const unpack = (name) => brotliDecompressSync(readFileSync(join(source, name)));

if (process.platform !== "linux" || process.arch !== "x64") {
  console.log("browser.mjs: no browser for this platform; the tests look for an installed one");
} else {
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target);
  execFileSync("tar", ["-xf", "-", "-C", target], { input: unpack("al2023.tar.br") }); // libraries
  const program = join(target, "chromium");
  writeFileSync(`${program}.part`, unpack("chromium.br"));
  chmodSync(`${program}.part`, 0o755);
  execFileSync("mv", [`${program}.part`, program]);
}
