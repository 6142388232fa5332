// Types chat/operations.graphql against ../schema.graphql, by GraphQL Code Generator: chat/operations.ts, which is committed.
// With --check nothing is written, and the command fails where the file is not what these two give.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { codegen } from "@graphql-codegen/core";
import * as documents from "@graphql-codegen/typed-document-node";
import * as operations from "@graphql-codegen/typescript-operations";
import { parse } from "graphql";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const read = (name) => readFileSync(here(name), "utf8");
const target = here("chat/operations.ts");

const text = await codegen({
  filename: target,
  schema: parse(read("../schema.graphql")),
  documents: [{ location: "operations.graphql", document: parse(read("chat/operations.graphql")) }],
  config: { scalars: { DateTime: "string" }, strictScalars: true, useTypeImports: true, enumsAsTypes: true },
  plugins: [{ operations: {} }, { documents: {} }],
  pluginMap: { operations, documents },
});
const generated = `// Made by \`npm run generate\` from operations.graphql and ../schema.graphql.\n${text.trim()}\n`;

if (!process.argv.includes("--check")) {
  writeFileSync(target, generated);
} else if (readFileSync(target, "utf8") !== generated) {
  console.error("chat/operations.ts is not what operations.graphql and schema.graphql give: run `npm run build` in web/ and commit it.");
  process.exit(1);
}
