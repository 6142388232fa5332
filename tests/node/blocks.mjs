// The blocks of docs/: those whose fence names a file after the language are programs, which tests write out and run.
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const here = (name) => fileURLToPath(new URL(name, import.meta.url));

/** The fenced blocks of a page: their language, what stands behind it, and their text. */
export async function blocks(page) {
  const text = await readFile(here(`../../docs/${page}`), 'utf8');
  const fences = text.matchAll(/^```(\w*)(?: ([^\n]+))?\n([\s\S]*?)^```$/gm);
  return [...fences].map(([, language, name, source]) => ({ language, name, source }));
}

/** A folder of its own with a page's programs, and the packages of this folder to import; it goes with its test. */
export async function folderOf(t, page) {
  const folder = await mkdtemp(join(tmpdir(), 'directmessages-docs-'));
  t.after(() => rm(folder, { recursive: true }));
  for (const { name, source } of await blocks(page)) {
    if (name) await writeFile(join(folder, name), source);
  }
  await symlink(here('node_modules'), join(folder, 'node_modules'));
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
  return folder;
}
