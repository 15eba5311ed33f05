// Missing image: show a notice when the image cannot be loaded.

document.addEventListener(
  "error",
  ({ target }) => {
    if (target.matches?.(".viewer .real")) {
      target.hidden = true;
      target.nextElementSibling.hidden = false;
    }
  },
  true,
);
