// Session: remember in localStorage that a person is logged in, so that the log-in page can explain
// an expired session, which leaves no trace on the server. Logging out clears the mark.
import { find } from "../core/dom.js";
import { countUnsentOfAll } from "../unsent/storage.js";

const MARK = "loupe.signed-in";

function wasSignedIn() {
  try {
    return Boolean(localStorage.getItem(MARK));
  } catch {
    return false;
  }
}

function remember() {
  try {
    localStorage.setItem(MARK, "yes");
  } catch {
    // localStorage is not available: the log-in page cannot explain an expired session.
  }
}

function forget() {
  try {
    localStorage.removeItem(MARK);
  } catch {
    // localStorage is not available, so nothing was stored.
  }
}

function explainLogin(notice) {
  const unsent = countUnsentOfAll();
  notice.hidden = !wasSignedIn();
  if (unsent) {
    notice.hidden = false;
    notice.querySelector("[data-unsent]").textContent =
      `${unsent} unsent decision${unsent === 1 ? " is" : "s are"} kept in this browser, and sent when you log in.`;
  }
  if (find("[role=alert]:not([hidden])")) {
    return;
  }
  // Focus the heading while the notice is shown: keys typed for the desk must not land in the name
  // field.
  const first = notice.hidden && find("#id_username"); // absent if only single sign-on is open
  (first || find("h1")).focus();
}

const signedOut = find("#signed-out");
if (find("[data-session]")?.dataset.session === "on") {
  remember();
  document.addEventListener("submit", ({ target }) => {
    if (target.matches("[data-logs-out]")) {
      forget();
    }
  });
} else if (signedOut) {
  explainLogin(signedOut);
}
