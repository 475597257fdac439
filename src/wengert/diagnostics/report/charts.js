// Small drawing kit: elements, number formats, a line chart and a heat map. No dependencies.

const PALETTE = ["#2f6fd0", "#d9762b", "#2f9e6e", "#b3478f", "#8a6bd1", "#c4a11d", "#3aa6b9",
                 "#c9503f", "#6f8f2f", "#7a7f8a"];
const tip = document.getElementById("tip");

function el(name, attributes = {}, ...children) {
  const svg = ["svg", "g", "path", "rect", "text", "line", "circle", "title", "defs", "marker",
               "tspan", "polygon"].includes(name);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", name)
                   : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value);
  }
  for (const child of children.flat()) {
    if (child !== null && child !== undefined) node.append(child);
  }
  return node;
}

function format(value, digits = 4) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e7) return value.toLocaleString("en");
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2);
  return String(Number(value.toPrecision(digits)));
}

function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let i = 0;
  while (n >= 1024 && i < 3) { n /= 1024; i += 1; }
  return `${Number(n.toPrecision(3))} ${units[i]}`;
}

function showTip(event, ...content) {
  tip.replaceChildren(...content);
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  const x = event.clientX + 14 + box.width > innerWidth ? event.clientX - box.width - 12
                                                        : event.clientX + 14;
  const y = Math.min(event.clientY + 12, innerHeight - box.height - 8);
  tip.style.left = `${Math.max(4, x)}px`;
  tip.style.top = `${Math.max(4, y)}px`;
}

function hideTip() { tip.hidden = true; }

// Ticks at 1, 2 or 5 times a power of ten; on a log axis at powers of ten.
function ticks(low, high, log, count = 5) {
  if (log) {
    const first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high));
    const step = Math.max(1, Math.ceil((last - first) / count));
    const found = [];
    for (let e = first; e <= last; e += step) found.push(10 ** e);
    return found;
  }
  if (high === low) return [low];
  const raw = (high - low) / count, unit = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map(m => m * unit).find(s => s >= raw);
  const found = [];
  for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-9; v += step) {
    found.push(Math.abs(v) < step * 1e-9 ? 0 : v);
  }
  return found;
}

// A line chart. series: [{name, x, y, dash}]; values that are not numbers are marked at the top.
function lineChart(title, series, { log = false, xLabel = "", yFormat = format, height = 240,
                             width = 560 } = {}) {
  const left = 56, right = 14, top = 10, bottom = 34;
  const hidden = new Set();
  const card = el("div", { class: "card chart" });
  const draw = () => {
    const seen = series.filter(s => !hidden.has(s.name));
    const usable = v => typeof v === "number" && (!log || v > 0);
    const ys = seen.flatMap(s => s.y.filter(usable));
    const xs = seen.flatMap(s => s.x);
    let [low, high] = ys.length ? [Math.min(...ys), Math.max(...ys)] : [log ? 0.1 : 0, 1];
    if (log) { low = 10 ** Math.floor(Math.log10(low)); high = 10 ** Math.ceil(Math.log10(high)); }
    if (low === high) { low = log ? low / 10 : low - 0.5; high = log ? high * 10 : high + 0.5; }
    else if (!log) { const pad = (high - low) * 0.06; low -= pad; high += pad; }
    const [x0, x1] = xs.length ? [Math.min(...xs), Math.max(...xs)] : [0, 1];
    const px = v => left + (width - left - right) * (x1 === x0 ? 0.5 : (v - x0) / (x1 - x0));
    const f = log ? Math.log10 : v => v;
    const py = v => top + (height - top - bottom) * (1 - (f(v) - f(low)) / (f(high) - f(low)));
    const svg = el("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title });
    for (const t of ticks(low, high, log)) {
      if (t < low || t > high) continue;
      svg.append(el("line", { class: "grid", x1: left, x2: width - right, y1: py(t), y2: py(t) }),
                 el("text", { class: "axis", x: left - 7, y: py(t) + 4, "text-anchor": "end" },
                    log ? `1e${Math.round(Math.log10(t))}` : yFormat(t)));
    }
    for (const t of ticks(x0, x1, false, 7)) {
      if (!Number.isInteger(t)) continue;
      svg.append(el("text", { class: "axis", x: px(t), y: height - 16, "text-anchor": "middle" },
                    format(t)));
    }
    svg.append(el("text", { class: "axis", x: (left + width - right) / 2, y: height - 2,
                            "text-anchor": "middle" }, xLabel));
    for (const s of seen) {
      let path = "", pen = "M";
      s.x.forEach((x, i) => {
        if (usable(s.y[i])) { path += `${pen}${px(x).toFixed(1)} ${py(s.y[i]).toFixed(1)}`; pen = "L"; }
        else {
          pen = "M";
          if (typeof s.y[i] === "string") {
            svg.append(el("polygon", { points: `${px(x) - 4},${top} ${px(x) + 4},${top} ${px(x)},${top + 8}`,
                                       fill: "var(--bad)" }));
          }
        }
      });
      svg.append(el("path", { d: path, fill: "none", stroke: s.color, "stroke-width": 1.8,
                              "stroke-dasharray": s.dash ? "5 4" : null, "stroke-linejoin": "round" }));
      if (s.x.length === 1 && usable(s.y[0])) {
        svg.append(el("circle", { cx: px(s.x[0]), cy: py(s.y[0]), r: 3, fill: s.color }));
      }
    }
    const cursor = el("line", { class: "grid", y1: top, y2: height - bottom, visibility: "hidden" });
    svg.append(cursor);
    svg.addEventListener("pointermove", event => {
      if (!seen.length) return;
      const box = svg.getBoundingClientRect();
      const at = (event.clientX - box.left) / box.width * width;
      const all = [...new Set(xs)];
      const nearest = all.reduce((a, b) => Math.abs(px(b) - at) < Math.abs(px(a) - at) ? b : a);
      cursor.setAttribute("x1", px(nearest)); cursor.setAttribute("x2", px(nearest));
      cursor.setAttribute("visibility", "visible");
      const lines = seen.filter(s => s.x.includes(nearest)).slice(0, 16).map(s => el("div", {},
        el("i", { style: `background:${s.color}` }),
        `${s.name}: ${yFormat(s.y[s.x.indexOf(nearest)])}`));
      showTip(event, el("b", {}, `${xLabel} ${format(nearest)}`), ...lines);
    });
    svg.addEventListener("pointerleave", () => { cursor.setAttribute("visibility", "hidden"); hideTip(); });
    const legend = el("div", { class: "legend" }, series.map(s => el("button", {
      type: "button", "aria-pressed": String(!hidden.has(s.name)),
      onclick: () => { hidden.has(s.name) ? hidden.delete(s.name) : hidden.add(s.name); draw(); },
    }, el("i", { style: `background:${s.color}` }), s.name)));
    card.replaceChildren(el("h3", {}, title), svg, legend);
  };
  series.forEach((s, i) => { s.color = s.color || PALETTE[i % PALETTE.length]; });
  draw();
  return card;
}

// Rows of values over time as colours; log scale shared by all rows.
function heatMap(title, rows, xs, xLabel) {
  const label = Math.min(210, 12 + 6.6 * Math.max(...rows.map(r => r.name.length)));
  const width = 1160, line = 19, top = 4, columns = Math.min(xs.length, 150);
  const usable = rows.flatMap(r => r.values.filter(v => typeof v === "number" && v > 0));
  const low = Math.log10(Math.min(...usable)), high = Math.log10(Math.max(...usable));
  const svg = el("svg", { viewBox: `0 0 ${width} ${top + line * rows.length + 22}`, role: "img",
                          "aria-label": title });
  const step = xs.length / columns, cell = (width - label) / columns;
  rows.forEach((row, r) => {
    svg.append(el("text", { x: label - 8, y: top + line * r + 13, "text-anchor": "end" }, row.name));
    for (let c = 0; c < columns; c += 1) {
      const part = row.values.slice(Math.floor(c * step), Math.max(Math.floor((c + 1) * step),
                                                                   Math.floor(c * step) + 1));
      const bad = part.find(v => typeof v === "string");
      const numbers = part.filter(v => typeof v === "number");
      const mean = numbers.reduce((a, b) => a + b, 0) / (numbers.length || 1);
      const depth = mean > 0 ? (Math.log10(mean) - low) / (high - low || 1) : 0;
      const at = xs[Math.floor(c * step)];
      svg.append(el("rect", {
        x: label + c * cell, y: top + line * r, width: cell + 0.4, height: line - 2,
        fill: bad ? "var(--bad)" : `rgba(var(--heat), ${(0.06 + 0.9 * depth).toFixed(3)})`,
        onpointermove: e => showTip(e, el("b", {}, row.name),
          el("div", {}, `${xLabel} ${format(at)}: ${bad || format(mean)}`)),
        onpointerleave: hideTip,
      }));
    }
  });
  svg.append(el("text", { class: "axis", x: label, y: top + line * rows.length + 15 }, `${xLabel} ${format(xs[0])}`),
             el("text", { class: "axis", x: width, y: top + line * rows.length + 15, "text-anchor": "end" },
                `${format(xs[xs.length - 1])}`));
  return el("div", { class: "card" }, el("h3", {}, title), svg);
}
