// Look-alikes: after a rejection is recorded, show how many images that look the same are released.
import { find } from "../core/dom.js";

export function showLookAlikes(item) {
  if (item.verdict !== "reject" || !find("#look-alikes")) {
    return;
  }
  const { pathname } = new URL("../look-alikes/count/", new URL(item.url, location.href));
  htmx.ajax("GET", pathname, { source: "#look-alikes", target: "#look-alikes", swap: "innerHTML" });
}
