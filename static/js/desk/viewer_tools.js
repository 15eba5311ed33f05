// Buttons below the image: boxes, colour, surround.
import { find } from "../core/dom.js";

function changeSurround(button) {
  const surrounds = button.dataset.surrounds.split(" ");
  find("#viewer").dataset.surround = button.value;
  // Later: the form that is about to be sent still needs the value pressed.
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
