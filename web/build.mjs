// Makes each page one file that needs no other and no network: dist/<page>.html.gz, which is committed and embedded by the Rust
// binary. `npm ci && npm run build` writes them; `npm run check` fails unless they are what the sources build. The same input gives
// the same pages on any machine.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync, gzipSync } from "node:zlib";
import { bundle } from "./build/bundle.mjs";
import { licences } from "./build/licences.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const pages = [
  { name: "chat", entry: "chat/main.tsx", title: "directmessages", largest: 150 * 1024 },
  { name: "graphiql", entry: "graphiql/main.jsx", title: "directmessages · GraphiQL", largest: 3 * 1024 * 1024 },
];

for (const page of pages) {
  const html = await assemble(page);
  const compressed = gzip(html);
  const target = join(here, "dist", `${page.name}.html.gz`);
  if (compressed.length > page.largest) {
    fail(`${page.name} takes ${kilobytes(compressed)} compressed; ${page.largest / 1024} kB are the most that the binary may carry.`);
  }
  if (process.argv.includes("--check")) {
    check(target, html);
  } else {
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, compressed);
  }
  const verb = process.argv.includes("--check") ? "Checked" : "Wrote";
  console.log(`${verb} ${relative(process.cwd(), target)}: ${kilobytes(compressed)} (${kilobytes(html)} unpacked).`);
}

function check(target, html) {
  const advice = "run `npm ci && npm run build` in web/ and commit it.";
  const name = `dist/${relative(join(here, "dist"), target)}`;
  if (!existsSync(target)) {
    fail(`${name} is missing: ${advice}`);
  }
  // Releases of zlib compress differently, so the pages are compared, not their compressed bytes.
  let found;
  try {
    found = gunzipSync(readFileSync(target));
  } catch (error) {
    fail(`${name} cannot be unpacked (${error.message}): ${advice}`);
  }
  if (!found.equals(html)) {
    fail(`${name} is not what its sources build: ${advice}`);
  }
}

async function assemble({ entry, title }) {
  const { script, style, packages } = await bundle(here, entry);
  if (/url\((?!["']?data:)|@import/.test(style)) {
    fail(`The style sheet of ${entry} names another file or host.`);
  }
  // The policy turns "no network but our own server" from a promise into something that the browser enforces, and lets no
  // script run but this one, so that nothing shown on the page can take the token.
  const policy = [
    "default-src 'none'",
    `script-src 'sha256-${createHash("sha256").update(script).digest("base64")}'`,
    "style-src 'unsafe-inline'",
    "connect-src 'self'",
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");
  const parts = { policy, title, style, script, licences: licences(packages) };
  const template = readFileSync(join(here, "shared", "page.html"), "utf8");
  return Buffer.from(template.replace(/\{\{(\w+)\}\}/g, (_, name) => parts[name]));
}

function gzip(bytes) {
  const result = gzipSync(bytes, { level: 9 });
  // The header's time is 0 already; its tenth byte names the operating system, so it is set to "unknown".
  result[9] = 255;
  return result;
}

function kilobytes(bytes) {
  return `${Math.ceil(bytes.length / 1024)} kB`;
}

function fail(sentence) {
  console.error(sentence);
  process.exit(1);
}
