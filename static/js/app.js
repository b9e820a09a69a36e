// What moves on a page: times, live parts, dialogs, theme, forms. Plain script, no build; a page can be read without it.
// lists.js has the palette, ticked rows and keys; logs.js the log that follows; charts.js the charts.
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
    showFields(root);
    showTimes(root);
  }

  // A field that belongs to some values of another (`data-when`: "kind=tag usage") stands while it has one of them.
  // One that went wrong stays, and one that must be sent is sent.
  function showFields(root = document) {
    for (const control of $$("[data-when]", root)) {
      const [name, values] = control.dataset.when.split("=");
      const chooser = control.form?.elements[name], field = control.closest(".field");
      if (!chooser || !field || field.classList.contains("field--bad")) continue;
      field.hidden = !values.split(" ").includes(chooser.value);
      control.disabled = field.hidden && !control.required;
    }
  }
  on("change", (event) => { if (event.target.form) showFields(event.target.form); });

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
    if (target.id === "dialog-body") openDialog();
    document.dispatchEvent(new CustomEvent("daytwo:swapped", { detail: target }));
  });
  on("htmx:afterSettle", () => enhance());
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

  // --- Begin -----------------------------------------------------------------------------------------------------
  $$("dialog").forEach(closes);
  enhance();
  showTheme();
  on("DOMContentLoaded", () => { isReady = true; look(); });
  $$("[data-fades]").forEach(fade);
  window.daytwo = { $, $$, on, store, toast, showTime, FORMS, zone };
})();
