// Runs in <head>, before anything is painted: the chosen theme, and the mark that a script runs.
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  try {
    const chosen = localStorage.getItem("daytwo-theme");
    if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
  } catch { /* storage is switched off: the system's theme */ }
})();
