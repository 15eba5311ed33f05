// Copy buttons: one on each code sample.
import { say } from "../core/announce.js";
import { find, findAll } from "../core/dom.js";

const SHOWN = 2000; // ms

async function copy(button, sample) {
  try {
    await navigator.clipboard.writeText(find("code", sample).textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(sample); // without permission: select it for Ctrl C
    button.textContent = "Selected";
  }
  say(`${button.textContent}: ${sample.ariaLabel}`);
  setTimeout(() => {
    button.textContent = "Copy";
  }, SHOWN);
}

for (const sample of findAll("pre.sample")) {
  const frame = document.createElement("div");
  const button = document.createElement("button");
  frame.className = "sample-frame";
  Object.assign(button, { type: "button", className: "button", textContent: "Copy" });
  button.setAttribute("aria-label", `Copy ${sample.ariaLabel}`);
  button.addEventListener("click", () => copy(button, sample));
  sample.replaceWith(frame);
  frame.append(sample, button);
}
