// Entry point of every page.
import "./live_region.js";
import "./hotkeys.js";
import "./lost_keys.js";
import "./unused_key.js";
import "./menus.js";
import "./key_list.js";
import "./htmx_answers.js";
import "./session.js";
import "../unsent/outbox.js";
import "../palette/main.js";
