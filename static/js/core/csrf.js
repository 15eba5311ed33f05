// The token that every POST carries.
import { find } from "./dom.js";

export const getCsrfToken = () => find("[name=csrfmiddlewaretoken]").value;

// A whole page instead of a part: the log-in, or the guard against foreign forms.
export const isWholePage = (text) => /^\s*<!doctype/i.test(text);
