// Passkeys: run the ceremony of WebAuthn and send its result with the form. The options come from the
// page, or from the URL in data-options.
import { find } from "../core/dom.js";

const CANCELLED = new Set(["AbortError", "NotAllowedError"]);

async function readOptions(form) {
  if (!form.dataset.options) {
    return JSON.parse(find("#passkey-options").textContent);
  }
  const answer = await fetch(form.dataset.options, { headers: { Accept: "application/json" } });
  if (!answer.ok) {
    throw new Error(`The server answered ${answer.status}.`);
  }
  return answer.json();
}

function createCredential({ creation_options: { publicKey } }, form) {
  const isAlone = find("[name=passwordless]", form).checked;
  const wish = isAlone ? "required" : "discouraged";
  publicKey.authenticatorSelection = {
    ...publicKey.authenticatorSelection,
    residentKey: wish,
    requireResidentKey: isAlone,
    userVerification: isAlone ? "required" : "preferred",
  };
  const options = PublicKeyCredential.parseCreationOptionsFromJSON(publicKey);
  return navigator.credentials.create({ publicKey: options });
}

function getCredential({ request_options: { publicKey } }) {
  const options = PublicKeyCredential.parseRequestOptionsFromJSON(publicKey);
  return navigator.credentials.get({ publicKey: options });
}

function showProblem(form, error) {
  const problem = find("[data-problem]", form);
  problem.textContent = CANCELLED.has(error.name)
    ? "No passkey was used: the browser has none for this site, or you cancelled."
    : `That did not work. ${error.message}`;
  problem.hidden = false;
}

async function run(form) {
  const ceremony = form.dataset.passkey === "create" ? createCredential : getCredential;
  try {
    const credential = await ceremony(await readOptions(form), form);
    find("[name=credential]", form).value = JSON.stringify(credential.toJSON());
    form.submit();
  } catch (error) {
    showProblem(form, error);
  }
}

const isSupported =
  typeof PublicKeyCredential !== "undefined" &&
  "parseRequestOptionsFromJSON" in PublicKeyCredential;

if (isSupported) {
  for (const form of document.querySelectorAll("form[data-passkey]")) {
    form.hidden = false;
    const start = find("[data-start]", form);
    start.addEventListener("click", () => run(form));
    form.addEventListener("submit", (event) => {
      event.preventDefault(); // Enter in a field
      start.click();
    });
  }
}
