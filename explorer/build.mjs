// src/ → one page without its data, which skmind fills in. Usage: node build.mjs OUTPUT
//
// The result depends on src/ and package-lock.json only.

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import * as esbuild from "esbuild";

const folder = dirname(fileURLToPath(import.meta.url));
const output = process.argv[2];
if (!output) throw new Error("usage: node build.mjs OUTPUT");

const result = await esbuild.build({
  absWorkingDir: folder,
  entryPoints: { script: "src/main.tsx", style: "src/style.css" },
  bundle: true,
  minify: true,
  write: false,
  metafile: true,
  outdir: "out",
  format: "iife",
  target: "es2022",
  charset: "ascii",
  legalComments: "none", // the page ends with all licences
  define: { "process.env.NODE_ENV": '"production"' },
});
const text = (suffix) => result.outputFiles.find(({ path }) => path.endsWith(suffix)).text.trimEnd();
// What would end the script is written in another way, which means the same in a string.
const script = text(".js").replaceAll("</script", "<\\/script").replaceAll("<!--", "<\\!--");
const style = text(".css");

const hash = (content) => `'sha256-${createHash("sha256").update(content).digest("base64")}'`;
const policy = [
  "default-src 'none'",
  `script-src ${hash(script)}`,
  `style-src 'unsafe-inline'`,
  "img-src data:",
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");

const parts = { policy, style, script, licences: licences(Object.keys(result.metafile.inputs)) };
const template = readFileSync(join(folder, "src/page.html"), "utf8");
writeFileSync(output, template.replace(/\{\{(\w+)\}\}/g, (_, name) => parts[name]));

/** Returns names, versions and licences of the packages that files of the bundle belong to. */
function licences(inputs) {
  const names = new Set();
  for (const path of inputs) {
    const match = /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path);
    if (match) names.add(match[1]);
  }
  const packages = new Map(); // text of the licence → packages
  for (const name of [...names].sort()) {
    const root = join(folder, "node_modules", name);
    const { version, license } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
    const file = readdirSync(root).sort().find((entry) => /^licen[cs]e/i.test(entry));
    const content = file ? readFileSync(join(root, file), "utf8").trim() : `Licence: ${license}`;
    packages.set(content, [...(packages.get(content) ?? []), `${name} ${version} (${license})`]);
  }
  return [...packages]
    .map(([content, owners]) => `${owners.join("\n")}\n\n${content}`)
    .join("\n\n----------------------------------------\n\n")
    .replaceAll("\r", "")
    .replaceAll("-->", "- ->")
    .replaceAll("--!>", "- -!>");
}
