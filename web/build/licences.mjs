import { readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const web = dirname(dirname(fileURLToPath(import.meta.url)));

/** The licence of every package that a byte of a page comes from, each text once. */
export function licences(packages) {
  const owners = new Map();
  for (const folder of packages) {
    const manifest = JSON.parse(readFileSync(join(web, folder, "package.json"), "utf8"));
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
  const isLicence = (file) => /^(licen[cs]e|copying|notice|copyrightnotice|thirdpartynotices)/i.test(file);
  const files = readdirSync(join(web, folder)).filter(isLicence);
  if (files.length > 0) {
    return files
      .sort()
      .map((file) => readFileSync(join(web, folder, file), "utf8").replace(/\r\n?/g, "\n").trim())
      .join("\n\n");
  }
  if (name.startsWith("@graphiql/")) {
    return licenceText("node_modules/graphiql", { name: "graphiql" });
  }
  if (license !== "MIT") {
    throw new Error(`${name} is under ${license} and comes without the text of its licence: add it to the page by hand.`);
  }
  const holder = author?.name ?? author ?? `the authors of ${repository?.url ?? repository ?? name}`;
  return `Copyright (c) ${holder}\n\n${readFileSync(join(web, "shared", "mit.txt"), "utf8").trim()}`;
}
