// Collect files from inputs and drops, with their paths inside a folder.
import { findAll } from "../core/dom.js";

function makeEntry(file, path, suffixes) {
  const suffix = /\.[^.]*$/.exec(file.name.toLowerCase())?.[0] ?? "";
  const isImage = suffixes.split(" ").includes(suffix);
  return { file, path, outcome: isImage ? "waiting" : "skipped" };
}

// Take the files of both inputs and empty these, so that a second click sends nothing twice.
export function collectInput(form, suffixes) {
  const inputs = findAll("input[type=file]", form);
  const entries = inputs.flatMap((input) =>
    [...input.files].map((file) => makeEntry(file, file.webkitRelativePath || file.name, suffixes)),
  );
  inputs.forEach((input) => {
    input.value = "";
  });
  return entries;
}

const readFile = (entry) => new Promise((resolve, reject) => entry.file(resolve, reject));

// A reader returns at most 100 entries at a time, and none at the end.
async function readFolder(folder) {
  const reader = folder.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) {
      return found;
    }
    found.push(...some);
  }
}

async function walk(entry, suffixes) {
  if (entry.isFile) {
    return [makeEntry(await readFile(entry), entry.fullPath.slice(1), suffixes)];
  }
  const inside = await readFolder(entry);
  return (await Promise.all(inside.map((one) => walk(one, suffixes)))).flat();
}

export async function collectDropped(transfer, suffixes) {
  // The items are gone after the first await. A file that is on no disk has no entry.
  const roots = [...transfer.items]
    .filter((item) => item.kind === "file")
    .map((item) => item.webkitGetAsEntry() ?? item.getAsFile());
  const found = roots.map((root) =>
    root instanceof File ? makeEntry(root, root.name, suffixes) : walk(root, suffixes),
  );
  return (await Promise.all(found)).flat();
}
