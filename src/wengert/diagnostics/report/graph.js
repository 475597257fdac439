// The graph view: draws a layout, zooms and pans, and tells about the node that is pointed at.

function graphView(graph) {
  const nodes = graph.nodes;
  const bands = bandsOf(nodes);
  const derived = nodes.some(n => n.phase !== "forward");
  const open = new Set(nodes.length <= 40 ? bands.map(b => b.key) : []);
  const state = { withDerived: derived, chosen: null, view: null };
  const canvas = el("div", { class: "canvas", tabindex: 0, "aria-label": "Computational graph" });
  const panel = el("div", { class: "panel card" });
  const users = nodes.map(() => []);
  nodes.forEach((n, i) => n.inputs.forEach(p => users[p].push(i)));
  const side = n => n.phase === "forward" ? "forward" : n.phase === "backward" ? "backward" : "tangent";
  let svg, root, boxes, edges, plan;

  function bandOf() {
    const found = new Map();
    bands.forEach((b, k) => [...b.forward, ...b.derived].forEach(i => found.set(i, k)));
    return found;
  }
  const bandIndex = bandOf();

  function draw() {
    plan = layout(nodes, bands, open, state.withDerived);
    boxes = new Map();          // node id → {x, y, w}; nodes of a closed band share one box
    edges = [];
    root = el("g");
    const back = el("g"), lines = el("g"), front = el("g");
    root.append(back, lines, front);
    for (const part of plan.parts) {
      const b = part.band;
      const group = el("g", { class: "band" },
        el("rect", { class: "back", x: part.x, y: part.y, width: part.width, height: part.height, rx: 10 }),
        el("text", { class: "name", x: part.x + 12, y: part.y + 18, onclick: () => toggle(b.key) },
           `${part.open ? "▾" : "▸"} ${b.title.length > 70 ? b.title.slice(0, 69) + "…" : b.title}`),
        b.module ? el("text", { class: "place", x: part.x + part.width - 12, y: part.y + 18,
                                "text-anchor": "end" }, b.place) : null);
      back.append(group);
      drawColumn(front, part, part.left, part.leftX, part.leftY, b.forward, "forward");
      if (state.withDerived) drawColumn(front, part, part.right, part.rightX, part.rightY, b.derived, null);
    }
    nodes.forEach((n, i) => n.inputs.forEach(p => {
      const a = boxes.get(p), b = boxes.get(i);
      if (a && b && a !== b) edges.push({ from: p, to: i, a, b });
    }));
    const seen = new Set();
    for (const e of edges) {
      const key = `${e.a.id}>${e.b.id}`;
      if (seen.has(key)) continue;
      seen.add(key);
      const kept = nodes[e.from].phase === "forward" && nodes[e.to].phase !== "forward";
      e.path = el("path", { class: `edge ${side(nodes[e.to])}${kept ? " kept" : ""}`, d: curve(e.a, e.b, kept) });
      lines.append(e.path);
    }
    svg = el("svg", {}, root);
    canvas.replaceChildren(svg);
    if (!state.view) fit(); else apply();
    highlight();
  }

  function drawColumn(front, part, column, x, y, ids, phase) {
    if (!ids.length) return;
    if (!part.open) {
      const kind = phase || side(nodes[ids[0]]);
      const last = nodes[Math.max(...ids)];
      const work = ids.filter(i => nodes[i].op !== "placeholder").length;
      const box = { x, y: y + BOX.height / 2, w: 190, id: `${part.band.key}/${kind}` };
      ids.forEach(i => boxes.set(i, box));
      front.append(nodeBox(box, kind, `${work} op${work === 1 ? "" : "s"} ${phase ? "" : kind}`,
        `${last.dtype}[${last.shape.join("×")}]`, ids.some(i => nodes[i].output), () => toggle(part.band.key),
        e => showTip(e, el("b", {}, part.band.title), el("div", {}, `${kind}: ${countOps(ids)}`),
                     el("div", {}, "click to open"))));
      return;
    }
    for (const [i, at] of column.at) {
      const n = nodes[i];
      const box = { x: x + at.x, y: y + at.y, w: at.w, id: i };
      boxes.set(i, box);
      const kind = n.op === "placeholder" ? "input" : side(n);
      front.append(nodeBox(box, kind, n.op === "placeholder" ? n.name || "input" : n.op,
        `${n.dtype}[${n.shape.join("×")}]`, n.output, () => choose(i),
        e => showTip(e, el("b", {}, n.op), ` ${n.dtype}[${n.shape.join("×")}]`,
                     el("div", {}, `${n.file}:${n.line}`), el("code", {}, n.code))));
    }
  }

  function countOps(ids) {
    const counts = {};
    ids.forEach(i => { counts[nodes[i].op] = (counts[nodes[i].op] || 0) + 1; });
    return Object.entries(counts).filter(([op]) => op !== "placeholder")
      .sort((a, b) => b[1] - a[1]).slice(0, 8).map(([op, c]) => c > 1 ? `${op} ×${c}` : op).join(", ");
  }

  function nodeBox(box, kind, label, shape, output, onclick, onpointermove) {
    box.element = el("g", { class: `node ${kind}${output ? " output" : ""}`, onclick,
                            onpointermove, onpointerleave: hideTip },
      el("rect", { x: box.x - box.w / 2, y: box.y - BOX.height / 2, width: box.w, height: BOX.height,
                   rx: kind === "input" ? 18 : 7 }),
      el("text", { x: box.x, y: box.y - 2, "text-anchor": "middle" }, label),
      el("text", { class: "shape", x: box.x, y: box.y + 12, "text-anchor": "middle" }, shape));
    return box.element;
  }

  // Kept values cross from the forward to the backward side; all else runs up or down.
  function curve(a, b, kept) {
    const h = BOX.height / 2;
    if (kept && Math.abs(a.x - b.x) > 60) {
      const x0 = a.x + Math.sign(b.x - a.x) * a.w / 2, x1 = b.x - Math.sign(b.x - a.x) * b.w / 2;
      const m = (x0 + x1) / 2;
      return `M${x0} ${a.y}C${m} ${a.y} ${m} ${b.y} ${x1} ${b.y}`;
    }
    const down = b.y > a.y, y0 = a.y + (down ? h : -h), y1 = b.y + (down ? -h : h);
    const bend = Math.max(14, Math.abs(y1 - y0) / 2) * (down ? 1 : -1);
    return `M${a.x} ${y0}C${a.x} ${y0 + bend} ${b.x} ${y1 - bend} ${b.x} ${y1}`;
  }

  function toggle(key) {
    open.has(key) ? open.delete(key) : open.add(key);
    draw();
  }

  function choose(i) {
    state.chosen = state.chosen === i ? null : i;
    highlight();
    tell();
  }

  function highlight() {
    for (const box of new Set(boxes.values())) {
      box.element.classList.remove("chosen", "dim");
    }
    edges.forEach(e => e.path && e.path.classList.remove("lit", "dim"));
    const box = state.chosen === null ? null : boxes.get(state.chosen);
    if (!box) return;
    const near = new Set([box]);
    edges.forEach(e => {
      const touches = e.a === box || e.b === box;
      if (touches) { near.add(e.a); near.add(e.b); }
      if (e.path) e.path.classList.add(touches ? "lit" : "dim");
    });
    for (const other of new Set(boxes.values())) if (!near.has(other)) other.element.classList.add("dim");
    box.element.classList.add("chosen");
  }

  function tell() {
    if (state.chosen === null) { overview(); return; }
    const n = nodes[state.chosen];
    const link = i => el("a", { href: "#graph", onclick: e => { e.preventDefault(); reveal(i); } },
                         `${nodes[i].name || nodes[i].op} [${nodes[i].shape.join("×")}]`);
    const entry = (name, ...value) => value[0] === undefined || value[0] === "" ? []
      : [el("dt", {}, name), el("dd", {}, ...value)];
    const list = ids => ids.length ? ids.flatMap((i, k) => k ? [", ", link(i)] : [link(i)]) : ["none"];
    panel.replaceChildren(
      el("h3", {}, n.name ? `${n.name} (${n.op})` : n.op),
      el("pre", {}, n.code || "(source not available)"),
      el("dl", {},
        entry("line", `${n.file}:${n.line}`), entry("in", n.function), entry("module", n.module),
        entry("phase", n.phase), entry("shape", `[${n.shape.join(", ")}]`), entry("dtype", n.dtype),
        entry("size", bytes(n.bytes)), entry("FLOPs", n.flops === undefined ? undefined : format(n.flops)),
        entry("cost", n.cost),
        ...Object.entries(n.params || {}).map(([k, v]) => entry(k, el("code", {}, v))),
        entry("from", ...list(n.inputs)), entry("used by", ...list(users[state.chosen]))));
  }

  function overview() {
    const forward = nodes.filter(n => n.phase === "forward" && n.op !== "placeholder");
    const rest = nodes.filter(n => n.phase !== "forward");
    const sum = part => part.reduce((a, n) => a + n.bytes, 0);
    panel.replaceChildren(
      el("h3", {}, "The graph"),
      el("p", { class: "lead" }, "Each band is a module of the model, or a line of the program. " +
        "Forward runs down the left side, backward up the right; dashed lines are values that the " +
        "forward pass keeps for the backward pass."),
      el("dl", {}, el("dt", {}, "forward"), el("dd", {}, `${forward.length} ops, ${bytes(sum(forward))}`),
         el("dt", {}, "derived"), el("dd", {}, `${rest.length} ops, ${bytes(sum(rest))}`),
         el("dt", {}, "inputs"), el("dd", {}, String(nodes.filter(n => n.op === "placeholder").length))),
      el("p", { class: "lead" }, "Click a band's name to open it, a node to see what it is; " +
        "drag to move, scroll to zoom."));
  }

  function reveal(i) {
    const band = bands[bandIndex.get(i)];
    if (band) open.add(band.key);
    if (nodes[i].phase !== "forward") state.withDerived = true;
    state.chosen = i;
    draw();
    const box = boxes.get(i);
    if (box) { state.view.x = box.x - state.view.w / 2; state.view.y = box.y - state.view.h / 2; apply(); }
    tell();
  }

  // -- zoom and pan: the view is a window onto the plan, in plan units ---------------------------
  function size() {
    const box = canvas.getBoundingClientRect();
    return [box.width || 820, box.height || 620];
  }
  function fit() {
    const [w, h] = size();
    const scale = Math.min(1.25, Math.max(Math.min(w / (plan.width + 40), h / (plan.height + 40)), 0.7));
    state.view = { w: w / scale, h: h / scale };
    state.view.x = (plan.width - state.view.w) / 2;
    state.view.y = plan.height + 40 <= state.view.h ? (plan.height - state.view.h) / 2 : -20;
    apply();
  }
  function apply() {
    const v = state.view;
    svg.setAttribute("viewBox", `${v.x} ${v.y} ${v.w} ${v.h}`);
    svg.setAttribute("preserveAspectRatio", "xMidYMid meet");
  }
  function zoom(factor, cx = 0.5, cy = 0.5) {
    const v = state.view;
    const limited = Math.min(Math.max(v.w / factor, 120), plan.width * 8 + 800) / v.w;
    v.x += v.w * (1 - limited) * cx; v.y += v.h * (1 - limited) * cy;
    v.w *= limited; v.h *= limited;
    apply();
  }
  canvas.addEventListener("wheel", e => {
    e.preventDefault();
    const box = canvas.getBoundingClientRect();
    zoom(Math.exp(-e.deltaY * 0.0015), (e.clientX - box.left) / box.width, (e.clientY - box.top) / box.height);
  }, { passive: false });
  let grip = null;
  canvas.addEventListener("pointerdown", e => { grip = { x: e.clientX, y: e.clientY, far: false }; });
  addEventListener("pointermove", e => {
    if (!grip) return;
    const [w] = size(), scale = state.view.w / w;
    const dx = e.clientX - grip.x, dy = e.clientY - grip.y;
    if (!grip.far && Math.hypot(dx, dy) < 4) return;
    canvas.classList.add("dragging");
    state.view.x -= dx * scale; state.view.y -= dy * scale;
    grip = { x: e.clientX, y: e.clientY, far: true };
    apply();
  });
  addEventListener("pointerup", () => { grip = null; canvas.classList.remove("dragging"); });
  canvas.addEventListener("keydown", e => {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[e.key];
    if (move) { state.view.x += move[0] * 60; state.view.y += move[1] * 60; apply(); e.preventDefault(); }
    if (e.key === "+" || e.key === "=") zoom(1.25);
    if (e.key === "-") zoom(0.8);
    if (e.key === "Escape" && state.chosen !== null) choose(state.chosen);
  });

  const button = (label, onclick, pressed) => el("button", { type: "button", onclick, "aria-pressed": pressed }, label);
  const backwardButton = derived ? button("backward", () => {
    state.withDerived = !state.withDerived;
    backwardButton.setAttribute("aria-pressed", String(state.withDerived));
    state.view = null;
    draw();
  }, String(state.withDerived)) : null;
  const search = el("input", { type: "search", placeholder: "find op, module, line…",
                               "aria-label": "Find a node" });
  let hit = -1;
  search.addEventListener("keydown", e => {
    if (e.key !== "Enter" || !search.value) return;
    const text = search.value.toLowerCase();
    const found = nodes.map((n, i) => i).filter(i => [nodes[i].op, nodes[i].module, nodes[i].name, nodes[i].code,
      `${nodes[i].file}:${nodes[i].line}`].some(s => s && s.toLowerCase().includes(text)));
    if (!found.length) return;
    hit = (hit + 1) % found.length;
    reveal(found[hit]);
  });
  const bar = el("div", { class: "bar" },
    button("open all", () => { bands.forEach(b => open.add(b.key)); state.view = null; draw(); }),
    button("close all", () => { open.clear(); state.view = null; draw(); }),
    backwardButton, el("span", { class: "gap" }), search,
    button("−", () => zoom(0.8)), button("+", () => zoom(1.25)), button("fit", fit));
  requestAnimationFrame(() => { draw(); tell(); });
  return el("div", {}, bar, el("div", { class: "graph" }, canvas, panel));
}
