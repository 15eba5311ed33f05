// Escalation: require a reason in the note; Enter in the note then escalates.
import { warn } from "../core/announce.js";
import { find } from "../core/dom.js";

// A second escalation goes to a policy lead.
const getAsked = () => find("[data-verdict=escalate]")?.dataset.asks ?? "senior moderator";

document.addEventListener(
  "click",
  (event) => {
    const note = find("#note");
    const isEscalation = event.target.closest("button, a")?.matches("[data-verdict=escalate]");
    if (isEscalation && note && !note.value.trim()) {
      event.preventDefault();
      note.placeholder = `Reason for the ${getAsked()}. Enter escalates`;
      note.dataset.escalates = "";
      note.focus();
    }
  },
  true,
);

document.addEventListener("keydown", (event) => {
  const note = event.target;
  const isEnter = event.key === "Enter" && !event.shiftKey && !event.isComposing;
  if (!isEnter || !note.matches?.("#note[data-escalates]")) {
    return;
  }
  event.preventDefault();
  if (note.value.trim()) {
    find("[data-verdict=escalate]").click();
  } else {
    warn(`Write a reason for the ${getAsked()} first. Esc leaves the note.`);
  }
});
