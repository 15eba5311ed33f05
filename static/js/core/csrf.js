// CSRF: read the token for POST requests, and recognise a whole page in a response.
import { find } from "./dom.js";

export const getCsrfToken = () => find("[name=csrfmiddlewaretoken]").value;

// A whole page instead of a fragment is the log-in page or the CSRF error page.
export const isWholePage = (text) => /^\s*<!doctype/i.test(text);
