// DOM: shorthands for querySelector and querySelectorAll.

export const find = (selector, root = document) => root.querySelector(selector);

export const findAll = (selector, root = document) => [...root.querySelectorAll(selector)];
