// ESLint rules for static/js: modules without shared globals. Prettier keeps one statement a line.
import js from "@eslint/js";
import globals from "globals";

export default [
  js.configs.recommended,
  {
    files: ["static/js/**/*.js"],
    languageOptions: {
      sourceType: "module",
      globals: { ...globals.browser, htmx: "readonly" },
    },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      complexity: ["error", 10],
      curly: "error",
      eqeqeq: "error",
      "max-lines": ["error", 150],
      "no-implicit-globals": "error",
      "no-restricted-globals": ["error", "window", "self", "globalThis"],
      "no-var": "error",
      "one-var": ["error", "never"],
      "prefer-const": "error",
    },
  },
];
