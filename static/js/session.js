// Remember in this browser that somebody is logged in, so that the log-in page can say why it is shown: a session that
// has ended leaves no trace on the server. Logging out forgets it.
const MARK = "loupe.signed-in";
const page = document.querySelector("[data-session]");
const storage = {
  get: () => { try { return localStorage.getItem(MARK); } catch { return null; } },
  set: () => { try { localStorage.setItem(MARK, "yes"); } catch { /* storage is forbidden: the page says less */ } },
  clear: () => { try { localStorage.removeItem(MARK); } catch { /* nothing was stored */ } },
};

function countUnsent() {
  try {
    return Object.keys(localStorage).filter((key) => key.startsWith("loupe.unsent.")).length;
  } catch {
    return 0;
  }
}

function explainLogin() {
  const notice = document.querySelector("#signed-out");
  const unsent = countUnsent();
  notice.hidden = !storage.get();
  if (unsent) {
    notice.hidden = false;
    notice.querySelector("[data-unsent]").textContent =
      `${unsent} unsent decision${unsent === 1 ? " is" : "s are"} kept in this browser, and sent when you log in.`;
  }
  // Keys meant for the desk may still be on their way: only a page that nobody was led to takes them as a name.
  if (notice.hidden && !document.querySelector("[role=alert]")) {
    document.querySelector("#id_username").focus();
  } else if (!document.querySelector("[role=alert]")) {
    document.querySelector("h1").focus();
  }
}

if (page?.dataset.session === "on") {
  storage.set();
  document.addEventListener("submit", ({ target }) => {
    if (target.matches("[data-logs-out]")) {
      storage.clear();
    }
  });
} else if (document.querySelector("#signed-out")) {
  explainLogin();
}
