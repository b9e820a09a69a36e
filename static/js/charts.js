// Charts: uPlot in our colours. The data is {series: [{label, unit, kind, points: [[t, v], …]}], marks: [{t, label, url}], note}, t in seconds.
// `kind` of what a figure is compared with: low, median, high (of the others; half of them lie in the band), past.
(() => {
  "use strict";
  const HEIGHT = 150;
  const LINES = ["--accent", "--ok", "--warn", "--bad", "--ink-2"];
  const charts = new Map(); // element → {plot, data}
  const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const { FORMS, zone } = window.daytwo;

  const own = (data) => data.series.filter((one) => !one.kind);
  function look(one, place, alone) {
    // A line needs two points: what has one so far is drawn as a dot, or nothing would be seen.
    const dots = (plot, series) => plot.data[series].filter((value) => value != null).length < 2;
    const common = { label: one.label, spanGaps: Boolean(one.kind), points: { show: dots, size: 7 } };
    if (one.kind === "low" || one.kind === "high") return { ...common, stroke: "transparent", width: 0 };
    if (one.kind === "median") return { ...common, stroke: token("--ink-3"), width: 1, dash: [2, 3] };
    if (one.kind === "past") return { ...common, stroke: token("--ink-2"), width: 1.2, dash: [6, 4] };
    return { ...common, stroke: token(LINES[place % LINES.length]), width: 1.5, fill: alone ? `color-mix(in srgb, ${token("--accent")} 9%, transparent)` : undefined };
  }
  function bands(series) {
    const low = series.findIndex((one) => one.kind === "low"), high = series.findIndex((one) => one.kind === "high");
    return low < 0 || high < 0 ? [] : [{ series: [high + 1, low + 1], fill: `color-mix(in srgb, ${token("--ink-3")} 18%, transparent)` }];
  }

  // Points of all series on one time axis.
  function columns(series) {
    const times = [...new Set(series.flatMap((one) => one.points.map(([t]) => t)))].sort((a, b) => a - b);
    const place = new Map(times.map((t, i) => [t, i]));
    return [times, ...series.map((one) => {
      const values = new Array(times.length).fill(undefined); // undefined: no point here; null: the line is broken
      one.points.forEach(([t, value]) => { values[place.get(t)] = value; });
      return values;
    })];
  }
  const shown = (value, unit) => value == null ? "–" : `${value >= 100 ? Math.round(value).toLocaleString("en") : +value.toPrecision(3)}${unit ? ` ${unit}` : ""}`;

  function options(element, data) {
    const grid = { stroke: token("--line"), width: 1 };
    const axis = { stroke: token("--ink-3"), grid, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    const head = element.closest(".panel")?.querySelector("[data-chart-at]");
    const unit = element.dataset.unit;
    return {
      width: Math.max(element.clientWidth - 24, 200), height: HEIGHT,
      tzDate: (seconds) => zone ? uPlot.tzDate(new Date(seconds * 1e3), zone) : new Date(seconds * 1e3),
      legend: { show: false },
      cursor: { y: false, sync: element.dataset.sync ? { key: element.dataset.sync, setSeries: false } : undefined, points: { size: 6 }, drag: { x: true, y: false } },
      axes: [{ ...axis, space: (_, __, low, high) => high - low > 2 * 86400 ? 100 : 60, size: 28, values: (_, ticks, __, ___, step) => ticks.map((t) => (step >= 86400 ? FORMS.date : FORMS.time).format(t * 1e3)) }, { ...axis, size: 46, values: (_, ticks) => ticks.map((t) => t >= 10000 ? `${+(t / 1000).toPrecision(3)}k` : t) }],
      scales: { x: { range: (plot, low, high) => ends(plot, data, low, high) }, y: { range: (_, low, high) => [Math.min(0, low ?? 0), (high ?? 0) > 0 ? high * 1.1 : 1] } },
      series: [{}, ...data.series.map((one) => look(one, own(data).indexOf(one), own(data).length === 1 && data.series.length === 1))],
      bands: bands(data.series),
      hooks: {
        setCursor: [(plot) => {
          if (!head) return;
          const at = plot.cursor.idx;
          head.textContent = at == null ? latest(data, unit) : `${FORMS.second.format(plot.data[0][at] * 1e3)} · ${data.series.map((one, i) => one.kind === "low" || one.kind === "high" || (one.kind && plot.data[i + 1][at] == null) ? "" : `${data.series.length > 1 ? `${one.label} ` : ""}${shown(plot.data[i + 1][at], one.unit ?? unit)}`).filter(Boolean).join(" · ")}`;
        }],
        drawClear: [(plot) => drawMarks(plot, data.marks ?? [])],
        setSize: [(plot) => placeMarks(plot, data.marks ?? [])],
        ready: [(plot) => placeMarks(plot, data.marks ?? [])],
        setScale: [(plot, key) => { if (key === "x") placeMarks(plot, data.marks ?? []); }],
      },
    };
  }
  // Seconds to each side of a single point, for which uPlot would take years: half a day of a day's figure, else minutes.
  const room = (t) => t % 86400 === 0 ? 43200 : 300;
  const latest = (data, unit) => own(data).length === 1 ? shown(own(data)[0].points.at(-1)?.[1], own(data)[0].unit ?? unit) : "";

  // What was done since the last figure is drawn too: the time axis goes on to it.
  const lastMark = (data, high) => Math.max(high, ...(data.marks ?? []).map(({ t }) => t));
  function ends(plot, data, low, high) {
    if (plot.data[0].length === 1) return [low - room(low), lastMark(data, low + room(low))];
    return [low, high === plot.data[0].at(-1) ? lastMark(data, high) : high];
  }

  // What was done meanwhile: a line in the drawing and, over it, a link to the operation.
  const visible = (plot, marks) => marks.filter(({ t }) => t >= plot.scales.x.min && t <= plot.scales.x.max);
  function drawMarks(plot, marks) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.strokeStyle = token("--warn");
    ctx.setLineDash([3, 3]);
    for (const mark of visible(plot, marks)) {
      const x = Math.round(plot.valToPos(mark.t, "x", true)) + 0.5;
      ctx.beginPath(); ctx.moveTo(x, bbox.top); ctx.lineTo(x, bbox.top + bbox.height); ctx.stroke();
    }
    ctx.restore();
  }
  function placeMarks(plot, marks) {
    plot.over.querySelectorAll(".chart__mark").forEach((link) => link.remove());
    for (const mark of visible(plot, marks)) {
      const link = Object.assign(document.createElement("a"), { className: "chart__mark", href: mark.url || "#", title: `${mark.label}, ${FORMS.second.format(mark.t * 1e3)}` });
      link.setAttribute("aria-label", link.title);
      link.style.left = `${plot.valToPos(mark.t, "x")}px`;
      plot.over.append(link);
    }
  }

  function figures(element, data, rows) {
    const box = element.closest(".panel")?.querySelector("[data-figures] > div");
    if (!box) return;
    const table = document.createElement("table");
    const head = table.createTHead().insertRow();
    ["Time", ...data.series.map((one) => `${one.label}${one.unit ? ` (${one.unit})` : ""}`)].forEach((text) => head.append(Object.assign(document.createElement("th"), { textContent: text, scope: "col" })));
    const body = table.createTBody();
    for (let i = rows[0].length - 1; i >= 0 && body.rows.length < 120; i--) {
      const row = body.insertRow();
      row.insertCell().textContent = FORMS.full.format(rows[0][i] * 1e3);
      data.series.forEach((one, s) => { row.insertCell().textContent = shown(rows[s + 1][i], one.unit); });
    }
    box.replaceChildren(table);
  }

  function draw(element, data) {
    const rows = columns(data.series);
    const known = charts.get(element);
    const head = element.closest(".panel")?.querySelector("[data-chart-at]");
    const same = known?.plot && known.data.series.map((one) => one.label).join() === data.series.map((one) => one.label).join();
    say(element, data.note);
    if (same) Object.assign(known.data, data);
    if (same) { known.plot.setData(rows); placeMarks(known.plot, data.marks ?? []); }
    else {
      known?.plot?.destroy();
      element.replaceChildren();
      if (!rows[0].length) {
        element.append(Object.assign(document.createElement("p"), { className: "chart__none", textContent: "Nothing was measured in this range." }));
        charts.set(element, { data });
        return;
      }
      charts.set(element, { data, plot: new uPlot(options(element, data), rows, element) });
    }
    if (head) head.textContent = latest(data, element.dataset.unit);
    figures(element, data, rows);
  }
  // What is to be known of where the figures come from, below the drawing.
  function say(element, text) {
    const box = element.parentElement;
    let note = box.querySelector(":scope > .chart__note");
    if (!text) { note?.remove(); return; }
    if (!note) { note = Object.assign(document.createElement("p"), { className: "chart__note" }); element.after(note); }
    note.textContent = text;
  }
  function fail(element, text) {
    if (charts.get(element)?.plot) return;
    element.replaceChildren(Object.assign(document.createElement("p"), { className: "chart__none", textContent: text }));
  }

  async function load(element) {
    try {
      const answer = await fetch(element.dataset.chartUrl, { headers: { "X-Daytwo-Live": "1", "HX-Request": "true" } });
      if (!answer.ok) throw new Error(String(answer.status));
      draw(element, await answer.json());
    } catch { fail(element, "The figures cannot be read now."); }
  }
  function begin(element) {
    if (charts.has(element)) return;
    charts.set(element, { data: { series: [] } });
    const given = element.querySelector('script[type="application/json"]');
    if (given) draw(element, JSON.parse(given.textContent));
    else if (element.dataset.chartUrl) load(element);
    const seconds = Number(element.dataset.chartLive ?? 15);
    if (element.dataset.chartUrl && seconds) {
      const timer = setInterval(() => { if (!element.isConnected) clearInterval(timer); else if (!document.hidden && !element.matches(":hover")) load(element); }, seconds * 1000);
    }
    new ResizeObserver(() => charts.get(element).plot?.setSize({ width: Math.max(element.clientWidth - 24, 200), height: HEIGHT })).observe(element);
  }
  const beginAll = () => document.querySelectorAll("[data-chart]").forEach(begin);
  document.addEventListener("daytwo:theme", () => charts.forEach(({ plot, data }, element) => { if (plot) { plot.destroy(); charts.set(element, { data: { series: [] } }); draw(element, data); } }));
  document.addEventListener("htmx:afterSettle", beginAll);
  beginAll();
})();
