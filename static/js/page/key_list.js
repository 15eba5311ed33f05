// Key list: fill the dialog from the [data-hotkey] attributes of the page.
import { find, findAll } from "../core/dom.js";

function describeKey(element) {
  const row = document.createElement("li");
  const key = document.createElement("kbd");
  const words = element.cloneNode(true);
  findAll("kbd, [data-undo-left]", words).forEach((part) => part.remove());
  key.textContent = element.dataset.hotkey.toUpperCase();
  row.append(element.dataset.label ?? words.textContent.trim(), key);
  return row;
}

function fillList() {
  const elements = findAll("[data-hotkey]").filter(
    (element) => !element.closest("#chooser, [hidden]"),
  );
  find("[data-keys]").replaceChildren(...elements.map(describeKey));
}

document.addEventListener("click", ({ target }) => {
  const opener = target.closest("[data-opens]");
  if (opener) {
    fillList();
    find(`#${opener.dataset.opens}`).showModal();
  }
});
