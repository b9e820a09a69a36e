// A log that follows: appends what came after its cursor, as text only. Runs after app.js.
(() => {
  "use strict";
  const { $, $$, on, showTime } = window.daytwo;
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

  on("htmx:afterSettle", startTails);
  startTails();
})();
