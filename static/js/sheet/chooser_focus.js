// Enter on a group's name opens it; on a category that was just picked it sends. So the focus goes
// to the category.

addEventListener("change", ({ target }) => {
  if (target.name === "categories" && document.activeElement.matches("#chooser summary")) {
    target.focus({ preventScroll: true });
  }
});
