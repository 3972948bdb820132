// Each image's value of each model: as rows with names where they are few, else along an axis.
const ROWS_MOST = 60;

function imagesPlot(box, group, open) {
  const state = { column: 0, order: 0, active: 0 };
  const orders = ["as listed", ...(group.models.length > 1 ? ["models differ most first"] : []),
    ...group.models.map((model) => `by ${model.title}`)];
  const controls = element("div", { class: "controls" });
  const chart = element("div");
  const redraw = () => whenDrawn();
  controls.append(
    choice("Metric", group.columns.map((c) => c.title), 0, (i) => { state.column = i; redraw(); }),
    menu("Order", orders, 0, (i) => { state.order = i; state.active = 0; redraw(); }).field,
  );
  box.append(controls, legend(group), chart);
  const whenDrawn = whenWide(chart, (width) => {
    const column = group.columns[state.column];
    const values = group.images.values[column.name];
    const order = ordered(group, state.order, values, column);
    const few = order.length <= ROWS_MOST;
    const svg = (few ? imageRows : imageDots)(group, column, values, order, width);
    browse(svg, group, column, values, order, state, open);
    chart.replaceChildren(svg);
  });
}

function ordered(group, kind, values, column) {
  const found = group.images.keys.map((_, i) => i);
  if (kind === 0) return found;
  const models = group.models.length;
  let key;
  if (kind === 1 && models > 1) {
    key = (i) => {
      const row = values.map((one) => one[i]).filter((value) => value !== null);
      return row.length ? Math.min(...row) - Math.max(...row) : Infinity;
    };
  } else {
    const own = values[kind - (models > 1 ? 2 : 1)];
    const sign = column.better === "higher" ? 1 : -1;
    key = (i) => (own[i] === null ? Infinity : sign * own[i]); // worst first
  }
  return found.sort((a, b) => key(a) - key(b) || a - b);
}

function finite(values) {
  return values.flat().filter((value) => value !== null);
}

function imageRows(group, column, values, order, width) {
  const line = 26;
  const names = order.map((i) => group.images.titles[i]);
  const widest = Math.max(...names.map((name) => textWidth(name, 12.5)));
  const left = Math.min(widest + 6, width * 0.34) + 12;
  const height = 34 + order.length * line + 24;
  const svg = canvas(width, height, `${column.title} of ${order.length} images`);
  const [low, high] = extent(finite(values).length ? finite(values) : [0, 1], 0.05);
  const x = linear(low, high, left, width - 10);
  const { values: at, digits } = ticks(low, high, clamp(Math.round((width - left) / 80), 2, 10));
  const bottom = 34 + order.length * line;
  for (const value of at) {
    svg.append(
      drawn("line", { class: "grid", x1: x(value), x2: x(value), y1: 28, y2: bottom }),
      drawn("text", { class: "tick", x: x(value), y: bottom + 17, "text-anchor": "middle" }, figure(value, digits)),
    );
  }
  svg.append(drawn("text", { class: "title", x: 0, y: 12 }, named(column)));
  order.forEach((i, rank) => {
    const y = 34 + rank * line + line / 2;
    const row = values.map((one) => one[i]);
    const known = row.filter((value) => value !== null);
    svg.append(
      drawn("rect", { class: "hit", "data-rank": rank, x: 0, y: y - line / 2, width, height: line, rx: 4 }),
      drawn("text", { x: left - 12, y: y + 4, "text-anchor": "end" }, shortened(names[rank], left - 14, 12.5)),
    );
    if (!known.length) return;
    svg.append(drawn("line", { class: "span", x1: x(Math.min(...known)), x2: x(Math.max(...known)), y1: y, y2: y }));
    row.forEach((value, m) => {
      if (value === null) return;
      svg.append(drawn("g", { transform: `translate(${x(value)} ${y})` }, mark(group.models[m], 5.5)));
    });
  });
  svg.dataset.kind = "rows";
  return svg;
}

function imageDots(group, column, values, order, width) {
  const height = Math.round(clamp(width * 0.45, 280, 400));
  const area = { left: 54, right: width - 10, top: 26, bottom: height - 40 };
  const svg = canvas(width, height, `${column.title} of ${order.length} images`);
  const [low, high] = extent(finite(values).length ? finite(values) : [0, 1], 0.05);
  const y = linear(low, high, area.bottom, area.top);
  const x = linear(0, order.length - 1, area.left + 4, area.right - 4);
  valueAxis(svg, y, low, high, area.left, area.right, area.top, area.bottom);
  svg.append(
    drawn("text", { class: "title", x: 0, y: 12 }, named(column)),
    drawn("line", { class: "axis", x1: area.left, x2: area.right, y1: area.bottom, y2: area.bottom }),
    drawn("text", { class: "title", x: (area.left + area.right) / 2, y: height - 12, "text-anchor": "middle" },
      `${order.length.toLocaleString("en")} images, in the order chosen above`),
  );
  values.forEach((one, m) => {
    const dots = order.map((i, rank) => (one[i] === null ? "" : `M${x(rank).toFixed(1)} ${y(one[i]).toFixed(1)}h0`));
    svg.append(drawn("path", { class: `dots ${colour("l", group.models[m])}`, d: dots.join("") }));
  });
  svg.append(drawn("line", { class: "cross", y1: area.top, y2: area.bottom, x1: -99, x2: -99 }));
  Object.assign(svg.dataset, { kind: "dots", left: area.left + 4, right: area.right - 4 });
  return svg;
}

// Lets pointer and keys go from image to image; Enter or a click opens its pictures.
function browse(svg, group, column, values, order, state, open) {
  const rows = svg.dataset.kind === "rows";
  const { left, right } = svg.dataset;
  svg.setAttribute("tabindex", 0);
  svg.setAttribute("role", "application");
  const label = svg.getAttribute("aria-label");
  svg.setAttribute("aria-label", `${label}; arrow keys go from image to image, Enter shows its pictures`);
  const show = (rank, aloud) => {
    state.active = clamp(rank, 0, order.length - 1);
    const i = order[state.active];
    const pairs = group.models.map((model, m) => [model.title, withUnit(values[m][i], column)]);
    let at;
    if (rows) {
      svg.querySelectorAll(".active").forEach((one) => one.classList.replace("active", "hit"));
      const rect = svg.querySelector(`[data-rank="${state.active}"]`);
      rect.classList.replace("hit", "active");
      at = () => {
        const box = rect.getBoundingClientRect();
        return [box.x + box.width / 2, box.y];
      };
    } else {
      const px = linear(0, order.length - 1, Number(left), Number(right))(state.active);
      const cross = svg.querySelector(".cross");
      cross.setAttribute("x1", px);
      cross.setAttribute("x2", px);
      at = () => {
        const box = svg.getBoundingClientRect();
        return [box.x + px * (box.width / svg.viewBox.baseVal.width), box.y + 40];
      };
    }
    const title = group.images.titles[i] + (open(group.images.keys[i], true) ? " (Enter or click: pictures)" : "");
    showTip(at, title, pairs, aloud);
  };
  const nearest = (event) => {
    if (rows) {
      const rect = event.target.closest ? event.target.closest("[data-rank]") : null;
      const line = svg.querySelector("[data-rank]").getBoundingClientRect();
      return rect ? Number(rect.dataset.rank) : Math.floor((event.clientY - line.y) / line.height);
    }
    const frame = svg.getBoundingClientRect();
    const px = (event.clientX - frame.x) * (svg.viewBox.baseVal.width / frame.width);
    return Math.round(linear(Number(left), Number(right), 0, order.length - 1)(px));
  };
  svg.addEventListener("pointermove", (event) => show(nearest(event)));
  svg.addEventListener("pointerleave", hideTip);
  svg.addEventListener("blur", hideTip);
  svg.addEventListener("click", (event) => open(group.images.keys[order[clamp(nearest(event), 0, order.length - 1)]]));
  svg.addEventListener("keydown", (event) => {
    const far = Math.max(1, Math.round(order.length / 10));
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1, PageDown: far, PageUp: -far }[event.key];
    if (step) show(state.active + step, true);
    else if (event.key === "Home") show(0, true);
    else if (event.key === "End") show(order.length - 1, true);
    else if (event.key === "Enter") open(group.images.keys[order[state.active]]);
    else return;
    event.preventDefault();
  });
}
