// Accuracy against cost.
function scatter(box, group) {
  const state = { column: 0, axis: 0, variant: 0 };
  const controls = element("div", { class: "controls" });
  const chart = element("div");
  const note = element("p", { class: "note" });
  const variants = element("span");
  const redraw = () => whenDrawn();
  const showVariants = () => {
    const axis = group.axes[state.axis];
    variants.replaceChildren();
    state.variant = 0;
    if (axis.variants.length > 1) {
      const names = axis.variants.map((one) => one.label);
      variants.append(menu("of", names, 0, (i) => { state.variant = i; redraw(); }).field);
    }
  };
  const across = choice("Across", group.axes.map((a) => a.title), 0, (i) => {
    state.axis = i;
    showVariants();
    redraw();
  });
  const up = choice("Up", group.columns.map((c) => c.title), 0, (i) => { state.column = i; redraw(); });
  controls.append(across, variants, up);
  box.append(controls, chart, note);
  showVariants();
  const whenDrawn = whenWide(chart, (width) => {
    chart.replaceChildren(drawScatter(group, state, width, note));
  });
}

function scatterPoints(group, column, values) {
  const known = (value) => value !== null && value !== undefined;
  return group.models
    .map((model, i) => ({ model, i, x: values[i], y: model.mean[column.name] }))
    .filter((point) => known(point.x) && known(point.y))
    .map((point) => ({ ...point, ends: point.model.interval[column.name] || [point.y, point.y] }));
}

function drawScatter(group, state, width, note) {
  const column = group.columns[state.column];
  const axis = group.axes[state.axis];
  const variant = axis.variants[state.variant];
  const points = scatterPoints(group, column, variant.values);
  const lacking = group.models.filter((_, i) => !points.some((point) => point.i === i));
  note.textContent = [
    points.some((p) => p.ends[0] !== p.ends[1]) ? "Bars are 95 % intervals of the mean." : "",
    variant.note || "",
    lacking.length ? `Not known of ${lacking.map((m) => m.title).join(", ")}.` : "",
  ].join(" ").trim();
  const height = Math.round(clamp(width * 0.5, 300, 440));
  const label = `${column.title} against ${axis.title}`;
  const svg = canvas(width, height, `${label}, ${points.length} models`);
  if (!points.length) {
    svg.append(drawn("text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, "nothing known"));
    return svg;
  }
  const area = { left: 54, right: width - 14, top: 26, bottom: height - 46 };
  const y = scatterUp(svg, column, points, area);
  const x = scatterAcross(svg, axis, variant, points, area);
  const spots = points.map((point) => ({ ...point, px: x(point.x), py: y(point.y) }));
  for (const spot of spots) {
    const [low, high] = spot.ends.map(y);
    svg.append(drawn("line", { class: `whisker ${colour("l", spot.model)}`, x1: spot.px, x2: spot.px, y1: low, y2: high }));
  }
  labels(svg, spots, area);
  for (const spot of spots) svg.append(scatterSpot(spot, column, axis));
  return svg;
}

function widthOf(area) {
  return area.right - area.left;
}

function scatterUp(svg, column, points, area) {
  const [low, high] = extent(points.flatMap((p) => [p.y, ...p.ends]), 0.08);
  const y = linear(low, high, area.bottom, area.top);
  valueAxis(svg, y, low, high, area.left, area.right, area.top, area.bottom);
  svg.append(drawn("text", { class: "title", x: 0, y: 12 }, named(column)));
  return y;
}

// A log axis; what costs nothing stands in a strip of its own on the left.
function scatterAcross(svg, axis, variant, points, area) {
  const positive = points.map((p) => p.x).filter((value) => value > 0);
  const zeros = positive.length < points.length;
  const widest = Math.max(0, ...points.filter((p) => p.x <= 0).map((p) => textWidth(p.model.title, 12.5, 600)));
  const zero = area.left + 22;
  const start = area.left + (zeros ? clamp(widest + 46, 60, widthOf(area) * 0.3) : 0);
  const low = positive.length ? Math.min(...positive) / 1.7 : 1;
  const high = positive.length ? Math.max(...positive) * 1.7 : 10;
  const scale = logarithmic(low, high, start, area.right);
  const { bottom, top } = area;
  svg.append(drawn("line", { class: "axis", x1: area.left, x2: area.right, y1: bottom, y2: bottom }));
  const tick = (at, text) => svg.append(
    drawn("line", { class: "axis", x1: at, x2: at, y1: bottom, y2: bottom + 5 }),
    drawn("text", { class: "tick", x: at, y: bottom + 19, "text-anchor": "middle" }, text),
  );
  if (zeros) {
    svg.append(drawn("line", { class: "break", x1: start, x2: start, y1: top, y2: bottom }));
    tick(zero, "0");
  }
  if (positive.length) {
    const most = Math.max(2, Math.floor((area.right - start) / 62));
    logTicks(low, high, most).forEach((value) => tick(scale(value), scaled(value)));
  }
  const text = axis.title + (axis.unit ? `, ${axis.unit}` : "") + (variant.label ? `, ${variant.label}` : "");
  const middle = (area.left + area.right) / 2;
  svg.append(drawn("text", { class: "title", x: middle, y: bottom + 40, "text-anchor": "middle" },
    shortened(`${text} (log scale)`, area.right - area.left, 12.5)));
  return (value) => (value > 0 ? scale(value) : zero);
}

function scatterSpot(spot, column, axis) {
  const cost = scaled(spot.x) + (axis.unit ? ` ${axis.unit}` : "");
  const pairs = [[column.title, withUnit(spot.y, column)], [axis.title, cost]];
  if (spot.ends[0] !== spot.ends[1]) {
    pairs.splice(1, 0, ["95 %", spot.ends.map((end) => figure(end, column.digits)).join(" to ")]);
  }
  if (spot.model.marks.length) pairs.push(["", spot.model.marks.join(", ")]);
  const text = [spot.model.title, ...pairs.map((pair) => pair.join(" "))].join(", ");
  const node = drawn("g", {
    class: "spot", tabindex: 0, role: "img", "aria-label": text,
    transform: `translate(${spot.px} ${spot.py})`,
  }, mark(spot.model, 7), drawn("circle", { class: "hit", r: 16 }));
  const at = () => {
    const box = node.getBoundingClientRect();
    return [box.x + box.width / 2, box.y + box.height / 2];
  };
  const show = () => showTip(at, spot.model.title, pairs);
  for (const kind of ["pointerenter", "focus"]) node.addEventListener(kind, show);
  for (const kind of ["pointerleave", "blur"]) node.addEventListener(kind, hideTip);
  return node;
}

// Puts each name where it hides no other name and no mark, with a line to its mark if need be.
function labels(svg, spots, area) {
  const size = 12.5;
  const taken = spots.map((s) => ({ x: s.px - 9, y: s.py - 9, w: 18, h: 18 }));
  const free = (box) => box.x >= area.left + 2 && box.x + box.w <= area.right + 10 &&
    box.y >= area.top - 8 && box.y + box.h <= area.bottom - 2 &&
    !taken.some((o) => box.x < o.x + o.w && o.x < box.x + box.w && box.y < o.y + o.h && o.y < box.y + box.h);
  for (const spot of spots) {
    const text = shortened(spot.model.title, 180, size);
    const w = textWidth(text, size, 600) + 4;
    const box = places(spot, w, 16).find(free);
    if (!box) continue; // no room: the tooltip still names it
    taken.push(box);
    if (box.away > 13) {
      const nearX = clamp(spot.px, box.x, box.x + w);
      const nearY = clamp(spot.py, box.y, box.y + box.h);
      svg.append(drawn("line", { class: "leader", x1: spot.px, y1: spot.py, x2: nearX, y2: nearY }));
    }
    svg.append(drawn("text", { class: "label", x: box.x + 2, y: box.y + 12 }, text));
  }
}

function places(spot, w, h) {
  const found = [];
  for (const away of [12, 20, 30, 44, 60, 80, 104]) {
    const near = [
      [spot.px + away, spot.py - h / 2], [spot.px - away - w, spot.py - h / 2],
      [spot.px + away * 0.7, spot.py - away * 0.7 - h], [spot.px + away * 0.7, spot.py + away * 0.7],
      [spot.px - away * 0.7 - w, spot.py - away * 0.7 - h], [spot.px - away * 0.7 - w, spot.py + away * 0.7],
      [spot.px - w / 2, spot.py - away - h], [spot.px - w / 2, spot.py + away],
    ];
    found.push(...near.map(([x, y]) => ({ x, y, w, h, away })));
  }
  return found;
}
