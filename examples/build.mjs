/**
 * Makes an example's `static/vendor/` of its npm packages: `node ../build.mjs`, in the example's folder. `package.json`
 * says what of: `"front": {"leaflet.js": "leaflet", "leaflet.css": "leaflet/dist/leaflet.css", "map.json": "…"}`. Scripts
 * and styles are bundled by esbuild, so that the page asks its own server alone; every other file is copied as it is.
 * The licences of all that went in stand beside it, in `LICENSES.txt`.
 */

import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { extname, join, resolve } from "node:path";

const HERE = process.cwd();
const OUT = join(HERE, "static", "vendor");
const require = createRequire(join(HERE, "package.json"));
const { front } = JSON.parse(readFileSync("package.json", "utf8"));
const packages = new Set();

/** Remember the package that a file is of. */
function used(path) {
  const within = path.split("node_modules/").slice(1);
  if (!within.length) return; // the example's own
  const name = within.at(-1).match(/^(?:@[^/]+\/)?[^/]+/)[0];
  packages.add([...within.slice(0, -1), name].reduce((folder, part) => join(folder, "node_modules", part), HERE));
}

async function make(target, source) {
  const outfile = join(OUT, target);
  if (![".js", ".css"].includes(extname(target))) {
    const path = resolve("node_modules", source);
    copyFileSync(path, outfile);
    return used(path);
  }
  const { metafile } = await require("esbuild").build({
    entryPoints: [source],
    outfile,
    bundle: true,
    format: "esm",
    minify: true,
    metafile: true,
    legalComments: "none",
    loader: { ".png": "dataurl", ".svg": "dataurl", ".woff2": "dataurl" },
    logLevel: "error",
  });
  for (const path of Object.keys(metafile.inputs)) used(path);
}

function licence(folder) {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const files = readdirSync(folder).filter((file) => /^(licen[cs]e|copying|notice)/i.test(file));
  const texts = files.map((file) => readFileSync(join(folder, file), "utf8").trim());
  return [`${name} ${version} (${license ?? "see below"})`, ...texts].join("\n\n");
}

rmSync(OUT, { recursive: true, force: true });
mkdirSync(OUT, { recursive: true });
for (const [target, source] of Object.entries(front)) await make(target, source);
const told = [...packages].sort().map(licence);
writeFileSync(join(OUT, "LICENSES.txt"), told.join(`\n\n${"-".repeat(80)}\n\n`) + "\n");
