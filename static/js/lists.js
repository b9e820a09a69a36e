// Lists by hand: the palette, ticked rows, single-letter keys. Runs after app.js.
(() => {
  "use strict";
  const { $, $$, on, store } = window.daytwo;

  // --- Palette ---------------------------------------------------------------------------------------------------
  const palette = $("#palette");
  const query = $("#palette-q");
  const hits = () => $$("#palette-hits a");
  let asked = "";
  function openPalette(text = "") {
    if (!palette) return;
    $$("dialog[open]").forEach((one) => one.close());
    palette.showModal();
    query.value = text;
    query.focus();
    htmx.trigger(query, "palette-open");
  }
  function choose(hit) {
    hits().forEach((one) => one.setAttribute("aria-selected", String(one === hit)));
    hit ? query.setAttribute("aria-activedescendant", hit.id) : query.removeAttribute("aria-activedescendant");
    hit?.scrollIntoView({ block: "nearest" });
  }
  const firstHit = () => {
    asked = query.value;
    // Links on the page of hits, options of a list in the dialog.
    hits().forEach((hit, i) => { hit.setAttribute("role", "option"); hit.id = `hit-${i + 1}`; hit.tabIndex = -1; });
    choose(hits()[0]);
  };
  on("click", (event) => {
    if (event.target.closest("[data-palette]") && palette && !event.ctrlKey && !event.metaKey) { event.preventDefault(); openPalette(); }
  });
  query?.addEventListener("keydown", (event) => {
    const all = hits();
    const at = all.findIndex((hit) => hit.getAttribute("aria-selected") === "true");
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && all.length) { event.preventDefault(); choose(all[(at + step + all.length) % all.length]); }
    if (event.key === "Enter" && at >= 0 && asked === query.value) { event.preventDefault(); location.assign(all[at].href); }
  });

  // --- Ticked rows -----------------------------------------------------------------------------------------------
  const boxes = () => $$("[data-tick]");
  let lastBox = null;
  function countTicked() {
    const bar = $("#bulk");
    const all = boxes();
    const count = all.filter((box) => box.checked).length;
    const head = $("[data-tick-all]");
    if (head) { head.checked = count > 0 && count === all.length; head.indeterminate = count > 0 && count < all.length; }
    if (!bar) return;
    const matching = $("[data-all-matching]", bar);
    if (matching && !count) matching.checked = false;
    bar.toggleAttribute("data-empty", !count);
    const words = $("[data-count]", bar);
    if (words) words.textContent = matching?.checked ? "All that match" : `${count} selected`;
  }
  on("click", ({ target, shiftKey }) => {
    if (target.matches?.("[data-tick]")) {
      const all = boxes();
      const [from, to] = [all.indexOf(lastBox), all.indexOf(target)].sort((a, b) => a - b);
      if (shiftKey && from >= 0) all.slice(from, to + 1).forEach((box) => { box.checked = target.checked; });
      lastBox = target;
    }
    if (target.closest?.("[data-tick-none]")) boxes().forEach((box) => { box.checked = false; });
    if (target.matches?.("[data-tick], [data-tick-none], [data-all-matching]")) countTicked();
  });
  on("change", ({ target }) => {
    if (target.matches?.("[data-tick-all]")) boxes().forEach((box) => { box.checked = target.checked; });
    if (target.matches?.("[data-tick-all], [data-tick], [data-all-matching]")) countTicked();
  });

  // --- Keys ------------------------------------------------------------------------------------------------------
  const rows = () => $$("table[data-rows] > tbody > tr, .panel > table.stack > tbody > tr").filter((row) => row.offsetParent);
  function moveCursor(step) {
    const all = rows();
    if (!all.length) return;
    const at = all.findIndex((row) => row.hasAttribute("data-cursor"));
    const next = all[Math.max(0, Math.min(all.length - 1, at < 0 ? (step > 0 ? 0 : all.length - 1) : at + step))];
    all.forEach((row) => row.toggleAttribute("data-cursor", row === next));
    next.scrollIntoView({ block: "nearest" });
    ($("td.main a", next) ?? $("a, input", next))?.focus({ preventScroll: true });
  }
  const cursor = () => $("tr[data-cursor]");
  let going = 0;
  const KEYS = {
    j: () => moveCursor(1),
    k: () => moveCursor(-1),
    x: (event) => $("[data-tick]", cursor() ?? document.createElement("i"))?.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true, shiftKey: event.shiftKey })),
    Enter: () => { const link = $("td.main a, a", cursor() ?? document.createElement("i")); link && location.assign(link.href); },
    "/": () => openPalette(),
    "?": () => $("#help")?.showModal(),
    g: () => { going = Date.now(); },
  };
  on("keydown", (event) => {
    const key = event.key;
    if ((event.metaKey || event.ctrlKey) && key.toLowerCase() === "k" && palette) { event.preventDefault(); palette.open ? palette.close() : openPalette(); return; }
    if (key === "Escape") { $$("details[data-menu][open]").forEach((menu) => { menu.open = false; $("summary", menu).focus(); }); return; }
    if (event.ctrlKey || event.metaKey || event.altKey || store.get("daytwo-keys") === "off") return;
    if (event.target.closest("input:not([type=checkbox]), textarea, select, [contenteditable], dialog")) return;
    if (key === "Enter" && event.target.closest("a, button, summary, input")) return;
    if (Date.now() - going < 1500 && /^[a-z]$/.test(key)) {
      going = 0;
      const link = $(`.rail [data-key="${key}"]`);
      if (link) { event.preventDefault(); location.assign(link.href); return; }
    }
    const act = Object.hasOwn(KEYS, key) ? KEYS[key] : Object.hasOwn(KEYS, key.toLowerCase()) && key === "X" ? KEYS.x : null;
    if (act) { if (key !== "Enter") event.preventDefault(); act(event); }
  });
  on("click", (event) => { if (event.target.closest("[data-open-help]")) { $$("details[data-menu][open]").forEach((m) => { m.open = false; }); $("#help").showModal(); } });
  const keysOff = $("[data-keys-off]");
  if (keysOff) {
    keysOff.checked = store.get("daytwo-keys") === "off";
    keysOff.addEventListener("change", () => store.set("daytwo-keys", keysOff.checked ? "off" : null));
  }
  if (/Mac|iPhone|iPad/.test(navigator.platform)) $$("[data-mod-k]").forEach((key) => { key.textContent = "⌘K"; });

  on("daytwo:swapped", ({ detail: target }) => {
    countTicked();
    if (target.id === "palette-hits") firstHit();
  });
  countTicked();
})();
