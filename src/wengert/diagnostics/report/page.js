// Puts the sections of the report together from the data in the page.

const report = JSON.parse(document.getElementById("data").textContent);
const page = document.getElementById("page");

function section(id, title, lead, ...content) {
  const kids = content.flat().filter(Boolean);
  if (!kids.length) return;
  document.getElementById("sections").append(el("a", { href: `#${id}` }, title));
  page.append(el("section", { id }, el("h2", {}, title), lead ? el("p", { class: "lead" }, lead) : null, ...kids));
}

function table(rows) {
  if (!rows.length) return null;
  const keys = [...new Set(rows.flatMap(r => Object.keys(r)))];
  const numeric = k => rows.every(r => typeof (r[k] ?? 0) === "number");
  return el("div", { class: "card scroll" }, el("table", {},
    el("thead", {}, el("tr", {}, keys.map(k => el("th", { class: numeric(k) ? "number" : "" }, k.replaceAll("_", " "))))),
    el("tbody", {}, rows.map(r => el("tr", {}, keys.map(k => el("td", { class: numeric(k) ? "number" : "" },
      Array.isArray(r[k]) ? r[k].join("×") : format(r[k], 6))))))));
}

// Pair each number of the history with its validation twin, one chart a pair.
function curves(history) {
  if (!history.length) return [];
  const numeric = v => typeof v === "number" || ["nan", "inf", "-inf"].includes(v);
  const names = [...new Set(history.flatMap(r => Object.keys(r)))]
    .filter(k => !["epoch", "step"].includes(k) && history.some(r => numeric(r[k])));
  const bases = [...new Set(names.map(n => n.replace(/^(val_|train_)/, "")))];
  const column = k => {
    const rows = history.map((r, i) => [r.epoch ?? i + 1, r[k]]).filter(([, v]) => v !== null && v !== undefined);
    return { x: rows.map(r => r[0]), y: rows.map(r => r[1]) };
  };
  const order = b => (b === "loss" ? 0 : b.includes("acc") ? 1 : ["lr", "seconds", "time"].includes(b) ? 3 : 2);
  return bases.sort((a, b) => order(a) - order(b)).map(base => {
    const series = [[base, "training"], [`train_${base}`, "training"], [`val_${base}`, "validation"]]
      .filter(([k]) => names.includes(k))
      .map(([k, label], i) => ({ name: label, ...column(k), color: label === "training" ? PALETTE[0] : PALETTE[1] }));
    if (series.length === 1 && !names.includes(`val_${base}`)) series[0].name = base;
    return lineChart(base.replaceAll("_", " "), series, { xLabel: "epoch" });
  });
}

function vitalsView(vitals) {
  const parameters = Object.entries(vitals.parameters || {});
  if (!parameters.length) return [];
  const choices = {
    "gradient norm": p => p.gradient_norm,
    "update norm": p => p.update_norm,
    "update ÷ weight": p => p.update_norm && p.weight_norm &&
      p.update_norm.map((u, i) => typeof u === "number" && p.weight_norm[i] > 0 ? u / p.weight_norm[i] : null),
  };
  const available = Object.keys(choices).filter(name => parameters.some(([, p]) => (choices[name](p) || []).length));
  const holder = el("div");
  const steps = vitals.steps;
  const show = name => {
    buttons.forEach(b => b.setAttribute("aria-pressed", String(b.textContent === name)));
    const rows = parameters.map(([k, p]) => ({ name: k, values: choices[name](p) || [] })).filter(r => r.values.length);
    const weights = rows.filter(r => !/bias|\.beta$/.test(r.name));
    const shown = weights.length ? weights : rows;
    const stride = Math.max(1, Math.floor(steps.length / 240));
    const thin = values => values.filter((_, i) => i % stride === 0);
    holder.replaceChildren(
      heatMap(`${name}, all parameters (darker is larger, log scale)`, rows, steps, "step"),
      el("div", { style: "height:1rem" }),
      lineChart(`${name} of the weights`, shown.map(r => ({ name: r.name, x: thin(steps), y: thin(r.values) })),
                { log: true, xLabel: "step", height: 300, width: 1160 }));
  };
  const buttons = available.map(name => el("button", { type: "button", onclick: () => show(name) }, name));
  show(available[0]);
  return [el("div", { class: "bar" }, buttons), holder];
}

function matrixView(counts, classes) {
  const names = classes || counts.map((_, i) => String(i));
  const most = Math.max(...counts.flat(), 1);
  const cell = (n, r, c) => el("td", {
    class: r !== c && n ? "wrong" : "",
    style: r === c ? `background: rgba(var(--heat), ${0.08 + 0.5 * n / most})` : "",
    title: `true ${names[r]}, predicted ${names[c]}: ${n}`,
  }, n ? String(n) : "·");
  const recall = counts.map((row, r) => row[r] / (row.reduce((a, b) => a + b, 0) || 1));
  return el("div", { class: "card scroll" }, el("table", { class: "matrix" },
    el("thead", {}, el("tr", {}, el("th", {}, "true ╲ predicted"), names.map(n => el("th", {}, n)), el("th", {}, "recall"))),
    el("tbody", {}, counts.map((row, r) => el("tr", {}, el("th", {}, names[r]), row.map((n, c) => cell(n, r, c)),
      el("td", {}, `${(100 * recall[r]).toFixed(1)} %`))))));
}

function picture(image) {
  const h = image.length, w = image[0].length, colour = Array.isArray(image[0][0]);
  const canvas = el("canvas", { width: w, height: h });
  const context = canvas.getContext("2d"), pixels = context.createImageData(w, h);
  const flat = image.flat(2).filter(v => typeof v === "number");
  const low = Math.min(...flat), high = Math.max(...flat), span = high - low || 1;
  image.forEach((row, y) => row.forEach((value, x) => {
    const rgb = colour ? value : [value, value, value];
    rgb.slice(0, 3).forEach((v, k) => { pixels.data[4 * (y * w + x) + k] = 255 * (v - low) / span; });
    pixels.data[4 * (y * w + x) + 3] = 255;
  }));
  context.putImageData(pixels, 0, 0);
  return canvas;
}

function mistakesView(mistakes) {
  return mistakes.length ? el("div", { class: "card mistakes" }, mistakes.map(m => el("figure", {}, picture(m.image),
    el("figcaption", {}, "true ", el("em", {}, String(m.true)), ", said ", el("b", {}, String(m.predicted)),
      m.probability === undefined || m.probability === null ? null : el("div", {}, `${(100 * m.probability).toFixed(0)} % sure`))))) : null;
}

function configView(config) {
  const rows = Object.entries(config);
  return rows.length ? el("div", { class: "card scroll" }, el("table", {}, el("tbody", {}, rows.map(([k, v]) =>
    el("tr", {}, el("th", {}, k.replaceAll("_", " ")), el("td", {}, typeof v === "object" && v !== null ? JSON.stringify(v) : format(v, 6))))))) : null;
}

const facts = Object.entries(report.facts);
section("facts", "Result", "", facts.length ? el("div", { class: "facts" }, facts.map(([name, value]) =>
  el("div", { class: "card fact" }, el("b", {}, format(value)), el("span", {}, name)))) : null);
section("curves", "Curves", "One point an epoch. Hover for numbers; click a name to hide its line.",
  report.history.length ? el("div", { class: "row" }, curves(report.history)) : null,
  report.steps.loss ? el("div", { style: "margin-top:1rem" }, lineChart("loss at each step",
    [{ name: "loss", x: report.steps.step || report.steps.loss.map((_, i) => i + 1), y: report.steps.loss }],
    { xLabel: "step", height: 220, width: 1160 })) : null);
section("vitals", "Gradients and updates", "How strongly the loss pulls at each parameter, and how far each step moves it. " +
  "A row that fades towards the input layers is a vanishing gradient; an update of about a thousandth of the weight is healthy.",
  vitalsView(report.vitals));
section("graph", "Computational graph", "What one training step computes, forward and backward, down to the line of your program.",
  report.graph ? graphView(report.graph) : null);
section("confusion", "Confusion matrix", "Rows are the true classes, columns what the network said.",
  report.confusion ? matrixView(report.confusion, report.classes) : null);
section("mistakes", "Misclassified", "", mistakesView(report.mistakes));
section("model", "Model", "", table(report.summary));
section("config", "How it was made", "", configView(report.config));
