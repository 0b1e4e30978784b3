// Runs before the first paint (a classic script in the head), so that a chosen theme shows without a flash.
(() => {
  "use strict";
  let chosen = null;
  try {
    chosen = localStorage.getItem("rushes.theme");
  } catch {
    // storage is switched off: the system's theme holds
  }
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
})();
