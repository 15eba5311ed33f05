// Remember in this browser that somebody is logged in, so that the log-in page can say why it is
// shown: a session that has ended leaves no trace on the server. Logging out forgets it.
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
    // Storage is forbidden: the log-in page says less.
  }
}

function forget() {
  try {
    localStorage.removeItem(MARK);
  } catch {
    // Nothing was stored.
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
  if (find("[role=alert]")) {
    return;
  }
  // Keys meant for the desk may still be on their way: only a page that nobody was led to takes
  // them as a name.
  find(notice.hidden ? "#id_username" : "h1").focus();
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
