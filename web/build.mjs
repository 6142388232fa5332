// Bundles GraphiQL and src/ into one page that needs no other file and no network: dist/graphiql.html.gz, which is committed and
// embedded by the Rust binary. `npm ci && npm run build` writes it; `npm run check` fails unless it is what the sources build.
// GraphiQL stays at 4.x, the last line on CodeMirror: 5.x brings Monaco, its web workers, and many times the size. Its fonts (270 kB
// compressed, more than half as much as all its code) are left out for the system's own. The same input gives the same page on any machine.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync, gzipSync } from "node:zlib";

const here = dirname(fileURLToPath(import.meta.url));
const target = join(here, "dist", "graphiql.html.gz");
const largest = 3 * 1024 * 1024;

const html = await page();
const compressed = gzip(html);
if (compressed.length > largest) {
  fail(`The page takes ${kilobytes(compressed)} compressed; ${largest / 1024} kB are the most that the binary may carry.`);
}
if (process.argv.includes("--check")) {
  check();
} else {
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, compressed);
  report("Wrote");
}

function check() {
  if (!existsSync(target)) {
    fail("dist/graphiql.html.gz is missing: run `npm run build` in web/ and commit it.");
  }
  const committed = readFileSync(target);
  if (committed.length > largest) {
    fail(`dist/graphiql.html.gz takes ${kilobytes(committed)}; ${largest / 1024} kB are the most that the binary may carry.`);
  }
  // Releases of zlib compress differently, so the pages are compared, not their compressed bytes.
  let found;
  try {
    found = gunzipSync(committed);
  } catch (error) {
    fail(`dist/graphiql.html.gz cannot be unpacked (${error.message}): run \`npm run build\` in web/ and commit it.`);
  }
  if (!found.equals(html)) {
    fail("dist/graphiql.html.gz is not what web/src builds: run `npm ci && npm run build` in web/ and commit it.");
  }
  report("Checked");
}

async function page() {
  const { script, style, licences } = await bundle();
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
  const parts = { policy, style, script, licences };
  const template = readFileSync(join(here, "src", "page.html"), "utf8");
  return Buffer.from(template.replace(/\{\{(\w+)\}\}/g, (_, name) => parts[name]));
}

async function bundle() {
  const { build } = await import("esbuild").catch((error) => fail(`esbuild is missing (${error.code}): run \`npm ci\` in web/ first.`));
  const { outputFiles, metafile } = await build({
    absWorkingDir: here,
    entryPoints: ["src/main.jsx"],
    outdir: "dist",
    write: false,
    metafile: true,
    bundle: true,
    minify: true,
    format: "iife",
    target: "es2022",
    charset: "utf8",
    jsx: "automatic",
    define: { "process.env.NODE_ENV": '"production"' },
    // Every package's whole licence stands at the end of the page instead.
    legalComments: "none",
    plugins: [withoutFonts()],
    logLevel: "warning",
  });
  const text = (ending) => outputFiles.find((file) => file.path.endsWith(ending)).text.trim();
  // Within a page, "<!--" followed by "<script" hides the end of the script. Both stand only in string and regular-expression
  // literals of the libraries, where the escape means the same.
  const script = text(".js").replace(/<(?=!--|script)/gi, "\\x3C");
  const style = text(".css");
  if (/url\((?!["']?data:)|@import/.test(style)) {
    fail("The style sheet names another file or host.");
  }
  return { script, style, licences: licences(metafile) };
}

// The inlined Roboto and Fira Code: src/style.css names the system's fonts.
function withoutFonts() {
  return {
    name: "without-fonts",
    setup(build) {
      build.onLoad({ filter: /[\\/]graphiql[\\/]dist[\\/]style\.css$/ }, ({ path }) => {
        const contents = readFileSync(path, "utf8").replace(/@font-face\s*\{[^}]*\}\s*/g, "");
        return { contents, loader: "css" };
      });
    },
  };
}

// The licence of every package that a byte of the page comes from, each text once.
function licences({ outputs }) {
  const folders = new Set();
  for (const output of Object.values(outputs)) {
    for (const [path, { bytesInOutput }] of Object.entries(output.inputs)) {
      const folder = path.match(/^.*node_modules\/(?:@[^/]+\/)?[^/]+/)?.[0];
      if (folder && bytesInOutput > 0) {
        folders.add(folder);
      }
    }
  }
  const owners = new Map();
  for (const folder of folders) {
    const manifest = JSON.parse(readFileSync(join(here, folder, "package.json"), "utf8"));
    const name = `${manifest.name} ${manifest.version} (${manifest.license})`;
    const text = licenceText(folder, manifest);
    owners.set(text, (owners.get(text) ?? new Set()).add(name));
  }
  return [...owners]
    .map(([text, names]) => `${[...names].sort().join("\n")}\n\n${text}`)
    .sort()
    .join(`\n\n${"-".repeat(80)}\n\n`)
    // Two dashes and a bracket would end the comment in which this stands.
    .replace(/--(!?)>/g, "- -$1>");
}

function licenceText(folder, { name, license, author, repository }) {
  const files = readdirSync(join(here, folder)).filter((file) => /^(licen[cs]e|copying|notice|copyrightnotice|thirdpartynotices)/i.test(file));
  if (files.length > 0) {
    return files
      .sort()
      .map((file) => readFileSync(join(here, folder, file), "utf8").replace(/\r\n?/g, "\n").trim())
      .join("\n\n");
  }
  if (name.startsWith("@graphiql/")) {
    return licenceText("node_modules/graphiql", { name: "graphiql" });
  }
  if (license !== "MIT") {
    fail(`${name} is under ${license} and comes without the text of its licence: add it to the page by hand.`);
  }
  const holder = author?.name ?? author ?? `the authors of ${repository?.url ?? repository ?? name}`;
  return `Copyright (c) ${holder}\n\n${readFileSync(join(here, "src", "mit.txt"), "utf8").trim()}`;
}

function gzip(bytes) {
  const result = gzipSync(bytes, { level: 9 });
  // The header's time is 0 already; its tenth byte names the operating system, so it is set to "unknown".
  result[9] = 255;
  return result;
}

function report(verb) {
  const path = relative(process.cwd(), target);
  console.log(`${verb} ${path}: ${kilobytes(compressed)} (${kilobytes(html)} unpacked).`);
}

function kilobytes(bytes) {
  return `${Math.ceil(bytes.length / 1024)} kB`;
}

function fail(sentence) {
  console.error(sentence);
  process.exit(1);
}
