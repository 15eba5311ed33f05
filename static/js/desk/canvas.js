// Canvas: keep zoom and offset in a stylesheet of their own. htmx copies and writes style
// attributes, which the content security policy refuses.

export const view = { zoom: 1, x: 0, y: 0, least: 1 };

const stylesheet = new CSSStyleSheet();
stylesheet.insertRule("[data-canvas] {}");
document.adoptedStyleSheets.push(stylesheet);

export function moveCanvas(zoom, x, y) {
  Object.assign(view, { zoom, x, y });
  const { style } = stylesheet.cssRules[0];
  style.setProperty("--zoom", zoom);
  style.setProperty("--x", `${x}px`);
  style.setProperty("--y", `${y}px`);
}
