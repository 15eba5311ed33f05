// Compare: the image beside a sibling, a similar image or a view of its original, in a dialog. Both
// are zoomed and moved together. An image is requested only when it is revealed.
import { warn } from "../core/announce.js";
import { find, findAll } from "../core/dom.js";
import { STEP, transform, view, zoomBy } from "./compare_zoom.js";

const PAN = 60; // pixels
const MOVES = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
const dialog = find("#compare");

let candidates = [];
let current = 0;
let isRevealed = false;
let grip = null;

const getPreview = (root) => find("img, image", root)?.getAttribute("src") ?? "";

function readCandidate(link) {
  const { compared, name, cover } = link.dataset;
  return { url: compared, preview: getPreview(link), name, isCovered: cover === "blur" };
}

// Without a view of its own, the image on the left is the one of the page.
function readPage() {
  const image = find("#viewer .real");
  return {
    url: `/assets/${find("#viewer [data-asset]").dataset.asset}/file`,
    preview: find("#viewer .blurred image").getAttribute("href"),
    name: find("#subject").textContent.replace(/\s+/g, " ").trim(),
    isCovered: !image || find("#viewer").hasAttribute("data-covered"),
  };
}

function showImage(figure, { url, preview, name, isCovered }) {
  const image = find("img", figure);
  const isBlurred = isCovered && !isRevealed;
  const source = isBlurred ? preview : url;
  if (image.getAttribute("src") !== source) {
    image.src = source;
  }
  image.alt = isBlurred ? `Blurred: ${name}` : name;
  figure.toggleAttribute("data-blurred", isBlurred);
  find("figcaption", figure).textContent = name;
}

function show() {
  const [left, right] = findAll("figure", dialog);
  showImage(left, readPage());
  showImage(right, candidates[current]);
  find("[data-reveals]", dialog).textContent = isRevealed ? "Blur both" : "Reveal both";
  const place = `${current + 1} of ${candidates.length}`;
  find("[data-said]", dialog).textContent = `${candidates[current].name}, ${place}`;
}

function step(by) {
  current = (current + by + candidates.length) % candidates.length;
  show();
}

function reveal() {
  isRevealed = !isRevealed;
  show();
}

const ACTIONS = {
  b: reveal,
  j: () => step(1),
  k: () => step(-1),
  "+": () => zoomBy(STEP),
  "-": () => zoomBy(1 / STEP),
  0: () => transform(1, 0, 0),
  p: () => dialog.close(),
  escape: () => dialog.close(),
};

// The focused link of the filmstrip or of the similar images comes first.
function open() {
  const links = findAll("#panel [data-compared]");
  if (!links.length) {
    warn("Nothing to compare: this image has no siblings, similar images or views.");
    return;
  }
  candidates = links.map(readCandidate);
  const next = find("#panel .filmstrip [aria-current]")?.closest("li").nextElementSibling;
  const wanted = [document.activeElement, next && find("a", next)];
  current = Math.max(0, ...wanted.map((link) => links.indexOf(link)));
  isRevealed = false;
  transform(1, 0, 0);
  show();
  dialog.showModal();
}

function handleKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) {
    return;
  }
  const action = ACTIONS[event.key.toLowerCase()];
  const move = MOVES[event.key];
  if (move) {
    transform(view.zoom, view.x + PAN * move[0], view.y + PAN * move[1]);
  } else if (action) {
    action();
  } else {
    return;
  }
  event.preventDefault();
  event.stopPropagation();
}

function listen() {
  dialog.addEventListener("keydown", handleKey);
  dialog.addEventListener("click", ({ target }) => {
    ACTIONS[target.closest("[data-key]")?.dataset.key]?.();
  });
  dialog.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      zoomBy(event.deltaY < 0 ? STEP : 1 / STEP);
    },
    { passive: false },
  );
  dialog.addEventListener("pointerdown", ({ target, clientX, clientY }) => {
    grip = target.closest(".pane") && { x: clientX - view.x, y: clientY - view.y };
  });
  dialog.addEventListener("pointermove", ({ clientX, clientY }) => {
    if (grip) {
      transform(view.zoom, clientX - grip.x, clientY - grip.y);
    }
  });
  addEventListener("pointerup", () => {
    grip = null;
  });
  document.addEventListener("click", ({ target }) => {
    if (target.closest("[data-compare]")) {
      open();
    }
  });
}

if (dialog) {
  listen();
}
