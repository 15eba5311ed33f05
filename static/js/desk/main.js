// Entry point of the review page. Without it every button, link and form still works. The guards
// come first, so that they see a click before the modules that act on it.
import "./verdict_guards.js";
import "./chooser.js";
import "./escalation.js";
import "./image_cover.js";
import "./viewer_tools.js";
import "./compare.js";
import "./missing_image.js";
import "./zoom_controls.js";
import "./pointer.js";
import "./activity.js";
import "./form_fields.js";
import "./claim_clock.js";
import "./undo_clock.js";
import "./drafts.js";
import "./panel_shown.js";
import "../deck/main.js";
