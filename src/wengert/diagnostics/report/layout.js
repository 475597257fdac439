// Layout of a computational graph as backpropagation is drawn on a blackboard: one band for each
// module (or source line) from top to bottom, the forward pass down the left side, and the nodes
// that were derived from it (backward, tangent) up the right side of the same band.

const BOX = { height: 36, gapX: 16, gapY: 18, pad: 14, head: 26, char: 7.1, least: 86 };

function boxWidth(node) {
  const shape = node.shape ? `${node.dtype}[${node.shape.join("×")}]` : "";
  const text = Math.max((node.name || node.op).length * BOX.char, shape.length * 6.4);
  return Math.max(BOX.least, text + 22);
}

// The bands in order, each {key, title, place, forward: [ids], derived: [ids]}.
function bandsOf(nodes) {
  const key = n => n.module || `${n.file}:${n.line}`;
  const home = nodes.map(n => n.phase === "forward" && n.op !== "placeholder" ? key(n) : null);
  nodes.forEach((n, i) => n.inputs.forEach(p => {      // an input lives with its first user
    if (home[p] === null && nodes[p].op === "placeholder" && home[i] !== null) home[p] = home[i];
  }));
  const bands = new Map();
  const band = (k, n) => {
    if (!bands.has(k)) {
      bands.set(k, { key: k, title: n.module || n.code || k, module: Boolean(n.module),
                     place: `${n.file}:${n.line}`, code: n.code, forward: [], derived: [] });
    }
    return bands.get(k);
  };
  nodes.forEach((n, i) => { if (home[i] !== null && n.op !== "placeholder") band(home[i], n).forward.push(i); });
  nodes.forEach((n, i) => {
    if (n.op === "placeholder") {
      const k = home[i] ?? key(n);
      band(k, n).forward.unshift(i);
    } else if (n.phase !== "forward") band(key(n), n).derived.push(i);
  });
  return [...bands.values()];
}

// Rank by longest path inside a set of nodes; then order each rank by the mean place of parents.
function layers(ids, nodes) {
  const inside = new Set(ids), rank = new Map(), rows = [];
  for (const i of [...ids].sort((a, b) => a - b)) {
    const above = nodes[i].inputs.filter(p => inside.has(p)).map(p => rank.get(p));
    rank.set(i, above.length ? Math.max(...above) + 1 : 0);
  }
  const users = new Map();
  ids.forEach(i => nodes[i].inputs.forEach(p => {
    if (inside.has(p)) users.set(p, [...(users.get(p) || []), i]);
  }));
  for (const i of ids) {           // sources come down to just above their first user
    const below = users.get(i);
    if (below && !nodes[i].inputs.some(p => inside.has(p))) {
      rank.set(i, Math.min(...below.map(u => rank.get(u))) - 1);
    }
  }
  for (const i of ids) (rows[rank.get(i)] ||= []).push(i);
  const filled = rows.filter(Boolean);
  const place = new Map();
  filled.forEach(row => row.forEach((i, x) => place.set(i, x / row.length)));
  for (let sweep = 0; sweep < 4; sweep += 1) {
    for (const row of filled) {
      const centre = i => {
        const near = [...nodes[i].inputs.filter(p => inside.has(p)), ...(users.get(i) || [])];
        return near.length ? near.reduce((a, p) => a + place.get(p), 0) / near.length : place.get(i);
      };
      row.sort((a, b) => centre(a) - centre(b));
      row.forEach((i, x) => place.set(i, (x + 0.5) / row.length));
    }
  }
  return filled;
}

// Positions of one column of a band, relative to its top centre; upward for derived nodes.
function column(ids, nodes, upward) {
  const rows = layers(ids, nodes);
  if (upward) rows.reverse();
  const at = new Map();
  let width = 0;
  rows.forEach((row, r) => {
    const widths = row.map(i => boxWidth(nodes[i]));
    const total = widths.reduce((a, b) => a + b, 0) + BOX.gapX * (row.length - 1);
    let x = -total / 2;
    row.forEach((i, k) => {
      at.set(i, { x: x + widths[k] / 2, y: r * (BOX.height + BOX.gapY) + BOX.height / 2, w: widths[k] });
      x += widths[k] + BOX.gapX;
    });
    width = Math.max(width, total);
  });
  const height = rows.length ? rows.length * (BOX.height + BOX.gapY) - BOX.gapY : 0;
  return { at, width, height };
}

// All positions. `open` holds the keys of expanded bands; a closed band is one box a column.
function layout(nodes, bands, open, withDerived) {
  const parts = bands.map(band => {
    const derivedIds = withDerived ? band.derived : [];
    if (open.has(band.key)) {
      return { band, open: true, left: column(band.forward, nodes, false),
               right: column(derivedIds, nodes, true) };
    }
    const one = ids => ({ at: new Map(), width: ids.length ? 190 : 0, height: ids.length ? BOX.height : 0 });
    return { band, open: false, left: one(band.forward), right: one(derivedIds) };
  });
  const shown = parts.filter(p => p.left.height || p.right.height);
  const leftWidth = Math.max(0, ...shown.map(p => p.left.width));
  const rightWidth = withDerived ? Math.max(0, ...shown.map(p => p.right.width)) : 0;
  const between = rightWidth ? 90 : 0;
  const titles = Math.max(...shown.map(p => 60 + 7 * (p.band.title.length + (p.band.module ? p.band.place.length + 2 : 0))));
  const inner = Math.max(leftWidth + between + rightWidth, Math.min(titles, 560));
  let y = 0;
  for (const p of shown) {
    const height = Math.max(p.left.height, p.right.height);
    p.y = y;
    p.height = BOX.head + height + BOX.pad;
    p.x = 0;
    p.width = inner + 2 * BOX.pad;
    const spare = inner - (leftWidth + between + rightWidth);
    p.leftX = BOX.pad + leftWidth / 2 + (rightWidth ? 0 : spare / 2);
    p.rightX = BOX.pad + leftWidth + between + spare + rightWidth / 2;
    p.leftY = y + BOX.head + (height - p.left.height) / 2;
    p.rightY = y + BOX.head + (height - p.right.height) / 2;
    y += p.height + 22;
  }
  return { parts: shown, width: inner + 2 * BOX.pad, height: Math.max(y - 22, 1) };
}
