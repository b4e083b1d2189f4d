#!/usr/bin/env bash
# Makes d3.js and LICENSES.txt from the versions in package-lock.json. Needs node and npm; works in a folder of its own.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cp "$here"/{entry.js,package.json,package-lock.json} "$work"
cd "$work"
npm ci --silent --no-audit --no-fund
npx esbuild entry.js --bundle --minify --format=iife --global-name=d3 --target=es2020 --charset=ascii \
    --legal-comments=none --metafile=meta.json --outfile="$here/d3.js" --log-level=warning
node - > "$here/LICENSES.txt" <<'JS'
const fs = require("fs");
const inputs = Object.keys(JSON.parse(fs.readFileSync("meta.json")).inputs);
const names = [...new Set(inputs.map((path) => (path.match(/^node_modules\/((?:@[^/]+\/)?[^/]+)/) || [])[1]).filter(Boolean))];
const owners = new Map(); // packages by their licence, whose text is written once
for (const name of names.sort()) {
  const {version, license} = JSON.parse(fs.readFileSync(`node_modules/${name}/package.json`));
  const text = fs.readFileSync(`node_modules/${name}/LICENSE`, "utf8").trim();
  owners.set(text, [...(owners.get(text) || []), `${name} ${version} (${license})`]);
}
console.log([...owners].map(([text, packages]) => `${packages.join(", ")}\n\n${text}`).join(`\n\n${"-".repeat(80)}\n\n`));
JS
echo "d3.js: $(wc -c < "$here/d3.js") bytes, LICENSES.txt: $(wc -c < "$here/LICENSES.txt") bytes"
