// Keeps the address of a view, its links and its form in step with the control of report.js, which must run before.
(() => {
  "use strict";
  const KEYS = ["t", "p", "v", "m", "n", "c"];
  const explorer = document.querySelector(".explorer"), all = (selector) => [...document.querySelectorAll(selector)];

  all("[data-print]").forEach((button) => { button.hidden = false; button.addEventListener("click", () => print()); });
  if (!explorer) return;

  // report.js reads its state from the part after #, the server from the query: hand the one to the other.
  const asked = new URLSearchParams(location.search), given = KEYS.filter((key) => asked.has(key));
  const plain = () => { try { history.replaceState(null, "", location.pathname + location.search); } catch { /* no address to keep */ } };
  if (given.length && !location.hash.includes("=")) {
    addEventListener("hashchange", plain, { once: true });
    location.replace(`#${new URLSearchParams(given.map((key) => [`part1.${key}`, asked.get(key)]))}`);
  }

  const keep = () => {
    const moved = new URLSearchParams(location.hash.slice(1)), query = new URLSearchParams(location.search);
    if (!moved.has("part1.t")) return;
    const state = KEYS.map((key) => [key, moved.get(`part1.${key}`)]).filter(([, value]) => value !== null);
    state.forEach(([key, value]) => query.set(key, value));
    try { history.replaceState(null, "", `${location.pathname}?${query}`); } catch { /* no address to keep */ }
    all("a[data-state]").forEach((link) => {
      const to = new URL(link.href);
      state.forEach(([key, value]) => to.searchParams.set(key, value));
      link.href = to.href;
    });
    state.forEach(([key, value]) => { const field = document.getElementById(`choice-${key}`); if (field) field.value = value; });
  };
  let later = 0;
  // A little later than report.js writes its part after #.
  const soon = () => { clearTimeout(later); later = setTimeout(keep, 400); };
  ["input", "change", "click"].forEach((event) => explorer.addEventListener(event, soon));
})();
