// Entry point of the contact sheet: keyboard, mouse and touch. Without it, every tile is a checkbox
// and every action a button. The guards come first, so that they see a click before the modules
// that act on it.
import "../core/category_twins.js";
import "./action_guards.js";
import "./preview.js";
import "./actions.js";
import "./chooser_focus.js";
import "./keys.js";
import "./clicks.js";
import "./touch.js";
import "./claim_clock.js";
import "./leaving.js";
import "./tiles_shown.js";
import { openSheet } from "./opening.js";

openSheet();
