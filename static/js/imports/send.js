// Requests of an import: create the set, and send one file.
import { getCsrfToken } from "../core/csrf.js";

const LAPSED = "Your session has ended: log in again in another tab, then send the rest again.";

async function post(url, body) {
  const headers = { "X-CSRFToken": getCsrfToken(), Accept: "application/json" };
  const answer = await fetch(url, { method: "POST", body, headers });
  if (answer.redirected) {
    throw new Error(LAPSED);
  }
  const isJson = answer.headers.get("Content-Type")?.startsWith("application/json");
  const content = isJson ? await answer.json() : { error: await answer.text() };
  if (!answer.ok) {
    throw new Error(isJson || answer.status === 413 ? content.error : "The server has a fault.");
  }
  return content;
}

export async function createSet(form) {
  const body = new FormData();
  body.set("name", new FormData(form).get("name") ?? "");
  return (await post(form.action, body)).url;
}

// An archive may need several requests: the server recognises what it has stored.
export async function sendFile(setUrl, entry) {
  const body = new FormData();
  body.set("files", entry.file);
  body.set("paths", entry.path);
  try {
    for (let before = Infinity; ;) {
      const { files } = await post(`${setUrl}files/`, body);
      const archive = files.find(({ outcome }) => outcome === "archive");
      if (!archive) {
        return files[0];
      }
      if (!archive.left || archive.left >= before) {
        return summarize(files, archive);
      }
      before = archive.left;
    }
  } catch (error) {
    const isNetwork = error instanceof TypeError;
    return { outcome: "failed", reason: isNetwork ? "No connection." : error.message };
  }
}

function summarize(files, archive) {
  const inside = files.filter(({ outcome }) => outcome !== "archive");
  return { outcome: archive.left ? "failed" : "archive", inside, ...describeRest(archive) };
}

const describeRest = ({ left, skipped }) => ({
  reason: [
    left && `${left} files are not read yet.`,
    skipped && `${skipped} skipped: no ${skipped === 1 ? "image" : "images"}.`,
  ]
    .filter(Boolean)
    .join(" "),
});
