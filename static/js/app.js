// Everything on a page that moves. Plain script, no build; the page can be read without it.
// Sections: words and times · live parts · dialogs · palette · keys · ticked rows · log tail · small things.
(() => {
  "use strict";
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const on = (type, handler, options) => document.addEventListener(type, handler, options);
  const meta = (name) => $(`meta[name="${name}"]`)?.content;
  const store = {
    get: (key) => { try { return localStorage.getItem(key); } catch { return null; } },
    set: (key, value) => { try { value === null ? localStorage.removeItem(key) : localStorage.setItem(key, value); } catch { /* off */ } },
  };

  // --- Times: the server writes UTC, the reader reads their own zone --------------------------------------------
  const zone = meta("zone") || undefined;
  const format = (options) => {
    try { return new Intl.DateTimeFormat("en-GB", { ...options, timeZone: zone }); } catch { return new Intl.DateTimeFormat("en-GB", options); }
  };
  const clock = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  const FORMS = {
    time: format(clock),
    second: format({ ...clock, second: "2-digit" }),
    date: format({ day: "2-digit", month: "short", year: "numeric" }),
    datetime: format({ day: "2-digit", month: "short", ...clock }),
    full: format({ day: "2-digit", month: "short", year: "numeric", ...clock, second: "2-digit", timeZoneName: "short" }),
  };
  const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const spoken = (seconds) => {
    const [size, unit] = UNITS.find(([one]) => seconds >= one) ?? [1, "s"];
    return `${Math.floor(seconds / size)} ${unit}`;
  };
  const ago = (at, now = Date.now()) => {
    const seconds = Math.round((now - at) / 1000);
    if (Math.abs(seconds) < 1) return "just now";
    return seconds > 0 ? `${spoken(seconds)} ago` : `in ${spoken(-seconds)}`;
  };
  function showTime(element) {
    const at = Date.parse(element.dateTime);
    if (Number.isNaN(at)) return;
    const text = element.dataset.at ? FORMS[element.dataset.at]?.format(at) : ago(at);
    if (text && element.textContent !== text) element.textContent = text;
    if (element.dataset.shown !== element.dateTime) {
      element.title = FORMS.full.format(at);
      element.dataset.shown = element.dateTime;
    }
  }
  const showTimes = (root = document) => $$("time[data-rel], time[data-at]", root).forEach(showTime);
  setInterval(() => { if (!document.hidden) $$("time[data-rel]").forEach(showTime); }, 5000);

  // --- Said at the edge of the page -----------------------------------------------------------------------------
  function toast(text, tone = "") {
    const box = Object.assign(document.createElement("div"), { className: `toast ${tone}` });
    const words = Object.assign(document.createElement("span"), { textContent: text });
    const close = Object.assign(document.createElement("button"), { type: "button", className: "btn quiet", textContent: "Close" });
    close.dataset.dismiss = "";
    box.append(words, close);
    $("#toasts")?.append(box);
    if (tone !== "bad") fade(box);
    return box;
  }
  const fade = (box) => setTimeout(() => { if (!box.matches(":hover, :focus-within")) box.remove(); else fade(box); }, 8000);

  // --- Live parts: looked at again every so many seconds, morphed in place ---------------------------------------
  let isReady = false; // htmx listens only from DOMContentLoaded on
  const looks = new WeakMap(); // element → {due, busy}
  let failures = 0;
  const live = (element) => element?.closest?.("[data-live]");
  const everyMs = (element) => Math.max(Number(element.dataset.live) || 5, 0.5) * 1000;

  function isInUse(part) {
    const selection = getSelection();
    if (selection && !selection.isCollapsed && selection.rangeCount && part.contains(selection.anchorNode)) return true;
    if ($("details[data-menu][open], dialog[open]", part)) return true;
    const focused = document.activeElement;
    return part.contains(focused) && focused.matches("textarea, select, input:not([type=checkbox], [type=radio])");
  }
  function look() {
    if (document.hidden || !window.htmx || !isReady) return;
    const now = Date.now();
    for (const part of $$("[data-live][hx-get]")) {
      let state = looks.get(part);
      if (!state) looks.set(part, (state = { due: now + ("liveNow" in part.dataset ? 0 : everyMs(part)), busy: 0 }));
      if (now < state.due || now - state.busy < 25000 || isInUse(part)) continue;
      state.busy = now;
      htmx.trigger(part, "live");
    }
  }
  function lookedAt(part, went) {
    const wait = went ? everyMs(part) : Math.min(everyMs(part) * 2 ** Math.min(failures, 6), 60000);
    looks.set(part, { due: Date.now() + wait * (0.95 + Math.random() / 10), busy: 0, version: looks.get(part)?.version });
  }
  function reachable(yes) {
    failures = yes ? 0 : failures + 1;
    const note = $("#offline");
    if (note) note.hidden = yes || failures < 2;
  }
  setInterval(look, 500);
  on("visibilitychange", () => {
    if (document.hidden) return;
    $$("[data-live]").forEach((part) => { const state = looks.get(part); if (state) state.due = 0; });
    look();
    showTimes();
  });

  // What htmx needs to know of our own attributes. Runs before it looks at what is new on the page.
  function enhance(root = document) {
    const all = (selector) => [...(root.matches?.(selector) ? [root] : []), ...$$(selector, root)];
    const give = (element, attributes) => {
      for (const [name, value] of Object.entries(attributes)) if (!element.hasAttribute(name)) element.setAttribute(name, value);
    };
    all("[data-live][hx-get]").forEach((part) => give(part, { "hx-trigger": "live", "hx-swap": "morph", "hx-target": "this", "hx-sync": "this:drop" }));
    all("#results a[data-part]").forEach((link) => give(link, {
      "hx-get": link.getAttribute("href"), "hx-target": "#results", "hx-swap": "outerHTML", "hx-push-url": "true", ...($("#filters") && { "hx-sync": "#filters:replace" }),
    }));
    all("form[data-dialog], #dialog-body form[method=post]").forEach((form) => give(form, {
      "hx-post": form.getAttribute("action") || location.href, "hx-target": "#dialog-body", "hx-swap": "innerHTML",
    }));
    showTimes(root);
  }

  // An address says only what is filtered by, and keeps the order that was chosen meanwhile.
  function tidyFilters(parameters) {
    const now = new URLSearchParams(location.search);
    for (const name of ["sort", "per_page"]) {
      parameters.delete(name);
      now.getAll(name).forEach((value) => parameters.append(name, value));
    }
    [...new Set(parameters.keys())].filter((name) => parameters.getAll(name).every((value) => value === "")).forEach((name) => parameters.delete(name));
  }
  function sameQuery(parameters) {
    const now = new URLSearchParams(location.search);
    now.delete("page");
    const flat = (pairs) => JSON.stringify([...pairs].map(([name, value]) => [name, String(value)]).sort());
    return flat(now.entries()) === flat([...new Set(parameters.keys())].flatMap((name) => parameters.getAll(name).map((value) => [name, value])));
  }
  on("htmx:configRequest", (event) => {
    const { target, detail } = event;
    if (detail.verb !== "get" && meta("csrf-token")) detail.headers["X-CSRFToken"] = meta("csrf-token");
    if (target.matches?.("form.filters")) {
      tidyFilters(detail.parameters);
      // Leaving a field reports the change that was sent while it was typed.
      if (detail.triggeringEvent?.type === "change" && sameQuery(detail.parameters)) event.preventDefault();
    }
    if (detail.triggeringEvent?.type === "live") {
      detail.headers["X-Daytwo-Live"] = "1";
      const version = looks.get(target)?.version;
      if (version) detail.headers["X-Daytwo-Have"] = version;
    }
  });
  on("htmx:beforeOnLoad", (event) => {
    // Signed out meanwhile: the page itself knows the way to the sign-in and back.
    if (event.detail.xhr.status === 401) { event.preventDefault(); location.reload(); }
  });
  on("htmx:beforeSwap", ({ detail }) => {
    // Why one may not, said where the question was to stand.
    if (detail.target.id === "dialog-body" && detail.xhr.status === 403) { detail.shouldSwap = true; detail.isError = false; }
    // A whole page where a part was asked for: the session ended and this is the sign-in page, or a view knows no parts.
    const isPage = /^\s*<!doctype/i.test(detail.xhr.responseText.slice(0, 200));
    if (!isPage || detail.boosted || detail.target === document.body) return;
    if (new URL(detail.xhr.responseURL || location.href).pathname.startsWith("/accounts/login")) {
      detail.shouldSwap = false;
      location.reload();
    } else if (detail.target.id !== "dialog-body") {
      detail.shouldSwap = false;
    }
  });
  on("htmx:afterRequest", ({ detail }) => {
    const part = detail.requestConfig?.triggeringEvent?.type === "live" ? detail.elt : null;
    if (!part) return;
    const went = detail.successful || (detail.xhr?.status >= 400 && detail.xhr.status < 500);
    reachable(went);
    lookedAt(part, went);
    const version = detail.xhr?.getResponseHeader?.("X-Daytwo-Version");
    if (version) looks.get(part).version = version;
    if (detail.xhr?.status === 404 || detail.xhr?.status === 403) part.removeAttribute("data-live");
  });
  on("htmx:responseError", ({ detail }) => {
    if (detail.requestConfig.triggeringEvent?.type === "live") return;
    const status = detail.xhr.status;
    const said = { 403: "You may not do this.", 404: "This is not there (any more).", 429: "Too many requests; wait a moment." }[status];
    toast(said ?? (status === 503 ? "The portal cannot reach its database. Try again in a moment." : `The portal answered with an error (${status}). Nothing was changed by this page.`), "bad");
  });
  on("htmx:sendError", ({ detail }) => {
    if (detail.requestConfig?.triggeringEvent?.type !== "live") toast("The portal cannot be reached. Try again in a moment.", "bad");
  });

  // --- Morphing: what the reader holds stays; what changed is lit ------------------------------------------------
  const FLASHES = "tr, li, .kpi, .cell, [data-flash]";
  const textOf = (element) => {
    const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
    let text = "";
    while (walker.nextNode()) if (walker.currentNode.parentElement.tagName !== "TIME") text += walker.currentNode.data;
    return text.replace(/\s+/g, " ").trim();
  };
  let changed = [];
  let ticked = new Set();
  // What the reader has typed or chosen and not sent yet.
  const isDirty = (field) => {
    if (field.tagName === "SELECT") return [...field.options].some((option) => option.selected !== option.defaultSelected) && field.dataset.touched !== undefined;
    if (field.type === "checkbox" || field.type === "radio") return field.checked !== field.defaultChecked;
    return field.matches("input:not([type=hidden]), textarea") && field.value !== field.defaultValue;
  };
  on("change", ({ target }) => { if (target.tagName === "SELECT") target.dataset.touched = ""; });
  function beforeNodeMorphed(was, will) {
    if (was.nodeType !== 1) return true;
    if (was.matches("input, textarea, select") && was.dataset.tick === undefined && isDirty(was)) return false;
    if (was.dataset.keep !== undefined && was.id && was.id === will.id && was.dataset.tail === will.dataset.tail) return false;
    if (was.tagName === "TIME" && was.dateTime && was.dateTime === will.dateTime) return false;
    if (was.matches(FLASHES) && textOf(was) !== textOf(will)) changed.push(was);
    return true;
  }
  if (window.Idiomorph) {
    Object.assign(Idiomorph.defaults, { ignoreActiveValue: true });
    Object.assign(Idiomorph.defaults.callbacks, {
      beforeNodeMorphed,
      beforeAttributeUpdated: (name, element) =>
        !((name === "open" && element.matches("details, dialog")) || name === "data-cursor" || (name === "data-shown" && element.tagName === "TIME")),
      afterNodeAdded: (node) => { if (node.nodeType === 1 && node.matches("tr, li")) changed.push(node); },
    });
  }
  on("htmx:beforeSwap", ({ target }) => {
    changed = [];
    ticked = new Set($$("[data-tick]:checked").map((box) => box.value));
    target.dataset && (target.dataset.had = "1");
  });
  on("htmx:afterSwap", ({ target, detail }) => {
    enhance(target.isConnected ? target : document);
    if (detail.requestConfig?.triggeringEvent?.type === "live") {
      // Boxes are told by their value, not their place: rows may have moved.
      $$("[data-tick]").forEach((box) => { box.checked = ticked.has(box.value); });
      changed.filter((element) => element.isConnected && !element.querySelector?.(".changed")).forEach(light);
    }
    changed = [];
    countTicked();
    if (target.id === "dialog-body") openDialog();
    if (target.id === "palette-hits") firstHit();
  });
  on("htmx:afterSettle", () => { enhance(); startTails(); });
  function light(element) {
    element.classList.remove("changed");
    void element.offsetWidth;
    element.classList.add("changed");
    setTimeout(() => element.classList.remove("changed"), 1700);
  }

  // --- Dialogs ---------------------------------------------------------------------------------------------------
  const dialog = $("#dialog");
  let opener = null;
  function openDialog() {
    const body = $("#dialog-body");
    const part = $("[data-dialog-part]", body);
    if (part && part.parentElement !== body) body.replaceChildren(part);
    if (part?.matches(".panel")) part.classList.remove("panel");
    dialog.setAttribute("aria-label", $("h1, h2", body)?.textContent.trim() || "Action");
    if (!dialog.open) {
      opener = document.activeElement;
      dialog.showModal();
    }
    ($(".error", body)?.closest(".field")?.querySelector("input, select, textarea") ?? $("input:not([type=hidden]), select, textarea", body) ?? $(".btn", body))?.focus();
  }
  dialog?.addEventListener("close", () => { $("#dialog-body").replaceChildren(); opener?.isConnected && opener.focus(); });
  const closes = (box) => box?.addEventListener("click", (event) => { if (event.target === box) box.close(); });
  on("click", (event) => {
    const link = event.target.closest("a[data-dialog]");
    if (link && window.htmx && dialog && !event.defaultPrevented && !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0) {
      event.preventDefault();
      opener = link;
      htmx.ajax("GET", link.href, { target: "#dialog-body", swap: "innerHTML" });
      return;
    }
    const close = event.target.closest("[data-close]");
    if (close && close.closest("dialog")) { event.preventDefault(); close.closest("dialog").close(); }
    event.target.closest("[data-dismiss]")?.closest(".toast").remove();
    $$("details[data-menu][open]").forEach((menu) => { if (!menu.contains(event.target)) menu.open = false; });
  });

  // A choice in an action's form shows anew what would happen.
  on("change", ({ target }) => {
    const form = target.form;
    const plan = form && $("#action-plan", form);
    if (!plan || !window.htmx || target.closest("#action-plan") || target.name === "reason") return;
    const data = Object.fromEntries(new FormData(form));
    delete data.confirmed;
    const isMany = "frozen" in data;
    if (!isMany) ["csrfmiddlewaretoken", "reason", "key", "previewed"].forEach((name) => delete data[name]);
    htmx.ajax(isMany ? "POST" : "GET", form.getAttribute("action") || location.href, { target: "#action-plan", swap: "outerHTML", values: data });
  });

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

  // --- Theme -----------------------------------------------------------------------------------------------------
  function showTheme() {
    const chosen = store.get("daytwo-theme") ?? "system";
    $$("[data-theme-choice]").forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.themeChoice === chosen)));
  }
  on("click", ({ target }) => {
    const choice = target.closest?.("[data-theme-choice]")?.dataset.themeChoice;
    if (!choice) return;
    store.set("daytwo-theme", choice === "system" ? null : choice);
    choice === "system" ? delete document.documentElement.dataset.theme : (document.documentElement.dataset.theme = choice);
    showTheme();
    document.dispatchEvent(new Event("daytwo:theme"));
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new Event("daytwo:theme")));

  // --- Forms that are sent once, questions before the point of no return, copying --------------------------------
  on("click", (event) => {
    const button = event.target.closest("[data-confirm]");
    if (button && !confirm(button.dataset.confirm)) { event.preventDefault(); event.stopImmediatePropagation(); return; }
    const copy = event.target.closest("[data-copy]");
    if (copy) navigator.clipboard?.writeText(copy.dataset.copy).then(() => toast("Copied."));
  }, true);
  const freeze = (form, yes) => [...form.elements].filter((one) => one.type === "submit").forEach((one) => { one.disabled = yes; });
  on("submit", (event) => {
    const form = event.target;
    if (!form.matches("[data-once]")) return;
    if (form.dataset.sent && Date.now() - form.dataset.sent < 10000) { event.preventDefault(); event.stopImmediatePropagation(); return; }
    form.dataset.sent = Date.now();
    setTimeout(() => freeze(form, true)); // after the button's own name and value were read
  }, true);
  on("htmx:afterRequest", ({ detail }) => {
    const form = detail.elt?.closest?.("form[data-once]");
    if (form) { delete form.dataset.sent; freeze(form, false); }
  });
  addEventListener("pageshow", (event) => { if (event.persisted) $$("form[data-once]").forEach((form) => { delete form.dataset.sent; freeze(form, false); }); });
  on("click", ({ target }) => {
    const more = target.closest?.("[data-filters]");
    if (more) more.setAttribute("aria-expanded", String(more.form.toggleAttribute("data-open")));
  });
  const openSquare = (event) => {
    const square = event.target.closest?.(".sq [data-id]");
    const pattern = square?.parentElement.dataset.url;
    if (!pattern) return;
    const url = pattern.replace(/0(?=[^0-9]*$)/, square.dataset.id);
    if (event.type === "auxclick" ? event.button === 1 : event.ctrlKey || event.metaKey) window.open(url);
    else if (event.type === "click") location.assign(url);
  };
  on("click", openSquare);
  on("auxclick", openSquare);
  // A filter taken away in the results is taken out of the form above them, too.
  on("click", (event) => {
    const chip = event.target.closest("[data-chip]");
    const form = $("form.filters");
    if (!chip || !form || !window.htmx) return;
    event.preventDefault();
    [...form.elements].filter((one) => one.name === chip.dataset.chip).forEach((one) => {
      if (one.type === "checkbox" || one.type === "radio") one.checked = false;
      else if (one.tagName === "SELECT") [...one.options].forEach((option) => { option.selected = option.value === ""; });
      else one.value = "";
    });
    htmx.trigger(form, "submit");
  });

  // --- Log tail --------------------------------------------------------------------------------------------------
  const MAX_LINES = 2000;
  const tails = new WeakSet();
  function startTails() { $$("[data-tail]").forEach((box) => { if (!tails.has(box)) { tails.add(box); tail(box); } }); }
  function tail(box) {
    const view = $(".log", box);
    const list = $("ol", box);
    const button = $("[data-follow]", box);
    const note = $("[data-tail-note]", box);
    const find = $("[data-tail-find]", box);
    let follows = true, wait = 2000, paused = 0;
    const follow = (yes) => {
      follows = yes;
      button.setAttribute("aria-pressed", String(yes));
      button.textContent = yes ? "Following" : "Follow";
      if (yes) { paused = 0; view.scrollTop = view.scrollHeight; }
    };
    const matches = (line) => !find.value || line.textContent.toLowerCase().includes(find.value.toLowerCase());
    button.addEventListener("click", () => follow(!follows));
    view.addEventListener("scroll", () => {
      const atEnd = view.scrollHeight - view.scrollTop - view.clientHeight < 24;
      if (atEnd !== follows) follow(atEnd);
    });
    find.addEventListener("input", () => { [...list.children].forEach((line) => { line.hidden = !matches(line); }); if (follows) follow(true); });
    const add = (line) => {
      const item = document.createElement("li");
      const time = Object.assign(document.createElement("time"), { dateTime: line.at });
      time.dataset.at = "second";
      item.dataset.level = String(line.level || "").toLowerCase();
      item.append(time, Object.assign(document.createElement("b"), { textContent: line.level || "" }), Object.assign(document.createElement("span"), { textContent: line.message }));
      const from = [line.tenant, line.request_id].filter(Boolean).join(" ");
      if (from) item.append(Object.assign(document.createElement("small"), { textContent: from }));
      showTime(time);
      item.hidden = !matches(item);
      list.append(item);
    };
    const poll = async () => {
      if (!box.isConnected) return;
      if (!document.hidden) {
        try {
          const url = new URL(box.dataset.tail, location.href);
          url.searchParams.set("after", box.dataset.cursor);
          const answer = await fetch(url, { headers: { "X-Daytwo-Live": "1", "HX-Request": "true" }, redirect: "manual" });
          if (answer.status === 401 || answer.type === "opaqueredirect") return location.reload();
          if (answer.status === 403 || answer.status === 404) { note.textContent = "This log is not yours to read (any more)."; return; }
          if (!answer.ok) throw new Error(String(answer.status));
          const found = await answer.json();
          box.dataset.cursor = found.cursor;
          found.lines.forEach(add);
          while (list.childElementCount > MAX_LINES) list.firstElementChild.remove();
          if (follows) view.scrollTop = view.scrollHeight; else paused += found.lines.length;
          note.textContent = found.error || (paused ? `${paused} new lines below` : "");
          wait = 2000;
        } catch {
          note.textContent = "reconnecting…";
          wait = Math.min(wait * 2, 60000);
        }
      }
      setTimeout(poll, wait);
    };
    follow(true);
    setTimeout(poll, 500);
  }

  // --- Begin -----------------------------------------------------------------------------------------------------
  [palette, dialog, $("#help")].forEach(closes);
  enhance();
  showTheme();
  startTails();
  countTicked();
  on("DOMContentLoaded", () => { isReady = true; look(); });
  $$("[data-fades]").forEach(fade);
  window.daytwo = { toast, showTimes, FORMS, zone };
})();
