import { readFileSync } from "node:fs";
import { join } from "node:path";

// What the libraries say to other bundlers ("use client"), and Vite's own helper for pages in several files.
const quiet = new Set(["MODULE_LEVEL_DIRECTIVE", "EMPTY_IMPORT_META"]);

/** One entry with all that it imports, by Vite: a script, a style sheet, and the folders of the packages that are in them. */
export async function bundle(root, entry) {
  const { build } = await import("vite").catch((error) => {
    console.error(`vite is missing (${error.code}): run \`npm ci\` in web/ first.`);
    process.exit(1);
  });
  const styled = new Set();
  const { output } = await build({
    root,
    configFile: false,
    envDir: false,
    publicDir: false,
    logLevel: "warn",
    mode: "production",
    // The chat is Preact's, GraphiQL is React's.
    oxc: { jsx: { runtime: "automatic", importSource: entry.endsWith(".tsx") ? "preact" : "react" } },
    plugins: [withoutFonts(), noting(styled)],
    build: {
      write: false,
      target: "es2022",
      minify: "oxc",
      cssMinify: true,
      cssCodeSplit: false,
      modulePreload: false,
      reportCompressedSize: false,
      chunkSizeWarningLimit: 4096,
      rolldownOptions: {
        input: join(root, entry),
        onLog: (level, log, report) => quiet.has(log.code) || report(level, log),
        output: { format: "iife", codeSplitting: false, comments: { legal: false, annotation: false, jsdoc: false } },
      },
    },
  });
  const chunks = output.filter((file) => file.type === "chunk");
  const sheets = output.filter((file) => file.type === "asset" && file.fileName.endsWith(".css"));
  if (chunks.length !== 1 || sheets.length !== 1 || output.length !== 2) {
    throw new Error(`${entry} should give one script and one style sheet, not ${output.map((file) => file.fileName).join(", ")}`);
  }
  const shown = Object.entries(chunks[0].modules).filter(([, module]) => module.renderedLength > 0);
  return {
    // Within a page, "<!--" followed by "<script" hides the end of the script. Both stand only in string and regular-expression
    // literals of the libraries, where the escape means the same.
    script: chunks[0].code.trim().replace(/<(?=!--|script|\/script)/gi, "\\x3C"),
    style: sheets[0].source.toString().trim(),
    packages: packagesOf(root, [...shown.map(([path]) => path), ...styled]),
  };
}

function packagesOf(root, paths) {
  const folders = paths.map((path) => path.replaceAll("\0", "").match(/^.*[\\/]node_modules[\\/](?:@[^\\/]+[\\/])?[^\\/]+/)?.[0]);
  return [...new Set(folders)].filter(Boolean).map((folder) => folder.replace(`${root}/`, ""));
}

// A style sheet is a module without code, so the bundler's account of rendered modules does not tell of it.
function noting(styled) {
  return {
    name: "noting-styles",
    transform(_, id) {
      if (id.endsWith(".css")) {
        styled.add(id);
      }
    },
  };
}

// GraphiQL's inlined Roboto and Fira Code (270 kB compressed, more than half as much as all its code): graphiql/style.css names the
// system's fonts. GraphiQL stays at 4.x, the last line on CodeMirror: 5.x brings Monaco, its web workers, and many times the size.
function withoutFonts() {
  return {
    name: "without-fonts",
    enforce: "pre",
    load(id) {
      if (/[\\/]graphiql[\\/]dist[\\/]style\.css$/.test(id)) {
        return readFileSync(id, "utf8").replace(/@font-face\s*\{[^}]*\}\s*/g, "");
      }
    },
  };
}
