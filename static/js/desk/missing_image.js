// An image that cannot be loaded says so.

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
