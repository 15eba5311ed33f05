// Chooser focus: move it from a group's name to the category just picked. Enter sends from there,
// but would toggle the group from its name.

addEventListener("change", ({ target }) => {
  if (target.name === "categories" && document.activeElement.matches("#chooser summary")) {
    target.focus({ preventScroll: true });
  }
});
