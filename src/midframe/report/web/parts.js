// The means by subset or by time.
function partsPlot(box, group, part) {
  const state = { column: 0 };
  const chart = element("div");
  const controls = element("div", { class: "controls" });
  const redraw = () => whenDrawn();
  controls.append(choice("Metric", group.columns.map((c) => c.title), 0, (i) => { state.column = i; redraw(); }));
  box.append(controls, legend(group), chart);
  const whenDrawn = whenWide(chart, (width) => {
    chart.replaceChildren(drawParts(group, part, group.columns[state.column], width));
  });
}

function drawParts(group, part, column, width) {
  const height = Math.round(clamp(width * 0.42, 260, 380));
  const area = { left: 54, right: width - 10, top: 26, bottom: height - 30 };
  const values = part.values[column.name];
  const ends = part.intervals[column.name];
  const svg = canvas(width, height, `${column.title} by ${part.kind}`);
  const all = finite([...values, ...ends.flat()]);
  const [low, high] = extent(all.length ? all : [0, 1], 0.06);
  const y = linear(low, high, area.bottom, area.top);
  valueAxis(svg, y, low, high, area.left, area.right, area.top, area.bottom);
  svg.append(
    drawn("text", { class: "title", x: 0, y: 12 }, named(column)),
    drawn("line", { class: "axis", x1: area.left, x2: area.right, y1: area.bottom, y2: area.bottom }),
  );
  const room = (area.right - area.left) / part.labels.length;
  const dodge = Math.min(14, (room * 0.7) / Math.max(1, group.models.length));
  const x = (k, m) => area.left + room * (k + 0.5) + dodge * (m - (group.models.length - 1) / 2);
  part.labels.forEach((label, k) => {
    const at = { class: "tick", x: area.left + room * (k + 0.5), y: area.bottom + 19, "text-anchor": "middle" };
    svg.append(drawn("text", at, shortened(label, room - 6, 12)));
  });
  values.forEach((row, m) => {
    const known = row.map((value, k) => [value, k]).filter(([value]) => value !== null);
    const line = known.map(([value, k], i) => `${i ? "L" : "M"}${x(k, m)} ${y(value)}`).join("");
    svg.append(drawn("path", { class: `curve ${colour("l", group.models[m])}`, d: line }));
    for (const [value, k] of known) svg.append(partSpot(group, part, column, m, k, value, ends[m][k], x(k, m), y));
  });
  return svg;
}

function partSpot(group, part, column, m, k, value, ends, px, y) {
  const pairs = [[part.labels[k], withUnit(value, column)]];
  const title = group.models[m].title;
  const node = drawn("g", { class: "spot", tabindex: 0, role: "img" });
  if (ends) {
    pairs.push(["95 %", ends.map((end) => figure(end, column.digits)).join(" to ")]);
    const [low, high] = ends.map((end) => y(end));
    node.append(drawn("line", { class: `whisker ${colour("l", group.models[m])}`, x1: px, x2: px, y1: low, y2: high }));
  }
  node.setAttribute("aria-label", [title, column.title, ...pairs.map((pair) => pair.join(" "))].join(", "));
  node.append(
    drawn("g", { transform: `translate(${px} ${y(value)})` }, mark(group.models[m], 5.5), drawn("circle", { class: "hit", r: 12 })),
  );
  const at = () => {
    const box = node.lastChild.getBoundingClientRect();
    return [box.x + box.width / 2, box.y];
  };
  const show = () => showTip(at, title, pairs);
  for (const kind of ["pointerenter", "focus"]) node.addEventListener(kind, show);
  for (const kind of ["pointerleave", "blur"]) node.addEventListener(kind, hideTip);
  return node;
}
