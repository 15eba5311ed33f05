// Viewer tools: buttons below the image for boxes, colour and surround.
import { find } from "../core/dom.js";

function changeSurround(button) {
  const surrounds = button.dataset.surrounds.split(" ");
  find("#viewer").dataset.surround = button.value;
  // Deferred: the form that is about to be submitted still needs the pressed value.
  setTimeout(() => {
    button.value = surrounds[(surrounds.indexOf(button.value) + 1) % surrounds.length];
  });
}

document.addEventListener(
  "click",
  ({ target }) => {
    const button = target.closest("button, a");
    if (button?.matches("[data-boxes]")) {
      button.ariaPressed = String(find("#viewer").toggleAttribute("data-boxed"));
    } else if (button?.matches("[data-colour]")) {
      button.ariaPressed = String(!find("#viewer").toggleAttribute("data-grey"));
    } else if (button?.matches("[data-surrounds]")) {
      changeSurround(button);
    }
  },
  true,
);
