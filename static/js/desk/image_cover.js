// Image cover: the first reveal requests the image; covering it later only changes attributes.
import { find } from "../core/dom.js";

const COVER = "[data-cover]"; // control of an image that has been revealed
const REVEAL = "[data-reveal]"; // link of one that has not
let isHeld = false; // Space is down
let isRevealedByHold = false;
let timer = 0;

export function coverLater() {
  clearTimeout(timer);
  const viewer = find("#viewer[data-revealed]:not([data-covered])");
  const seconds = Number(viewer?.dataset.coverAgain ?? 0);
  if (!seconds) {
    return;
  }
  timer = setTimeout(() => {
    if (find(COVER) && !isHeld) {
      setCover(true);
    }
  }, 1000 * seconds);
}

function setCover(isOn) {
  find("#viewer").toggleAttribute("data-covered", isOn);
  find("span", find(COVER)).textContent = isOn ? "Reveal" : "Blur";
  coverLater();
}

function hold(isDown) {
  if (!find("#viewer") || isHeld === isDown) {
    return;
  }
  isHeld = isDown;
  if (find(COVER)) {
    setCover(!isDown);
  } else if (isDown && find(REVEAL)) {
    isRevealedByHold = true;
    find(REVEAL).click();
  }
}

export function resetHold() {
  isHeld = false;
  isRevealedByHold = false;
}

// Cover the image if Space was released before the image arrived.
export function coverIfLetGo() {
  if (isRevealedByHold) {
    isRevealedByHold = false;
    setCover(!isHeld);
  }
}

document.addEventListener(
  "click",
  (event) => {
    if (event.target.closest("button, a")?.matches(COVER)) {
      event.preventDefault();
      setCover(!find("#viewer").hasAttribute("data-covered"));
    }
  },
  true,
);

document.addEventListener("desk:key", (event) => {
  const key = event.detail;
  if (key.key === " " && find("#panel") && !key.target.closest("a, button, summary, input")) {
    event.preventDefault();
    hold(true);
  }
});

document.addEventListener("keyup", ({ key }) => {
  if (key === " ") {
    hold(false);
  }
});
