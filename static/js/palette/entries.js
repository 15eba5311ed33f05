// Palette entries: pages and controls of this page, queues and ids of the server.
import { getCsrfToken } from "../core/csrf.js";
import { isShown, isTyping } from "../core/controls.js";
import { find, findAll } from "../core/dom.js";

const ID = /^#?[0-9a-f-]{6,36}$/i; // moderation/presenters/palette.py reads the same ids
const ANSWER_LIMIT = 3000; // ms
const PAGES = ".bar nav.main a, .menu a";
let queues = null;

function describe(element) {
  const words = element.cloneNode(true);
  findAll("kbd, svg, [data-undo-left]", words).forEach((part) => part.remove());
  return (element.ariaLabel ?? element.dataset.label ?? words.textContent)
    .replace(/\s+/g, " ")
    .trim();
}

function listPages() {
  // The bar and the menu of a narrow window have the same links.
  const links = new Map(findAll(PAGES).map((link) => [link.href, link]));
  return [...links.values()].map((link) => ({
    kind: "Page",
    label: describe(link),
    run: () => location.assign(link.href),
  }));
}

function press(control) {
  if (isTyping(control)) {
    control.focus();
  } else {
    control.click();
  }
}

function listControls() {
  const controls = findAll("main [data-hotkey], .bar [data-hotkey]").filter(
    (control) => isShown(control) && !control.closest("#chooser"),
  );
  return controls.map((control) => ({
    kind: "Action",
    label: describe(control),
    key: control.dataset.hotkey.toUpperCase(),
    run: () => press(control),
  }));
}

// A POST, as the buttons of the queue's page send it.
function post(url) {
  const form = document.createElement("form");
  const token = document.createElement("input");
  Object.assign(form, { method: "post", action: url, hidden: true });
  Object.assign(token, { type: "hidden", name: "csrfmiddlewaretoken", value: getCsrfToken() });
  form.append(token);
  document.body.append(form);
  form.submit();
}

const load = async (url) => {
  const signal = AbortSignal.timeout(ANSWER_LIMIT);
  const answer = await fetch(url, { headers: { Accept: "application/json" }, signal });
  return answer.ok && !answer.redirected ? (await answer.json()).entries : [];
};

const fromServer = ({ kind, label, url, method }) => ({
  kind,
  label,
  run: () => (method === "post" ? post(url) : location.assign(url)),
});

export async function loadQueues(url) {
  queues ??= (await load(url).catch(() => [])).map(fromServer);
}

export const listEntries = () => [...listControls(), ...(queues ?? []), ...listPages()];

export async function findIds(url, text) {
  if (!ID.test(text)) {
    return [];
  }
  const found = await load(`${url}?q=${encodeURIComponent(text)}`).catch(() => []);
  return found.map(fromServer);
}

export function makeSearch(url, text) {
  return {
    kind: "Search",
    label: `Search images for “${text}”`,
    run: () => location.assign(`${url}?q=${encodeURIComponent(text)}`),
  };
}

export const dialog = find("#palette");
