// Controls: check visibility, typing, swaps, the open chooser and the hotkey setting.
import { find } from "./dom.js";

export const isShown = (element) => element.checkVisibility() && !element.matches(":disabled");

export const isTyping = (element) =>
  element.matches("textarea, select, [contenteditable], input:not([type=checkbox], [type=radio])");

export const isSwapping = () => find("#panel.htmx-request, #panel .htmx-request:not(#claim)");

export const findOpenChooser = () => find("#chooser[open]");

// Letters and digits choose categories while the chooser is open.
export const isChooserKey = (key) => /^[a-z\d]$/i.test(key);

export const areHotkeysOff = () => document.documentElement.dataset.hotkeys === "off";
