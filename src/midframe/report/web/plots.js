// What all plots share: scales, ticks, marks by colour and shape, redrawing where the width changes.
const SHAPES = [
  (r) => `M${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`,
  (r) => `M${-r * 0.9} ${-r * 0.9}h${r * 1.8}v${r * 1.8}h${-r * 1.8}z`,
  (r) => `M0 ${-r * 1.15}L${r * 1.1} ${r * 0.85}H${-r * 1.1}z`,
  (r) => `M0 ${-r * 1.25}L${r * 1.25} 0L0 ${r * 1.25}L${-r * 1.25} 0z`,
  (r) => `M0 ${r * 1.15}L${r * 1.1} ${-r * 0.85}H${-r * 1.1}z`,
  (r) => `M${-r * 0.45} ${-r * 1.15}h${r * 0.9}v${r * 0.7}h${r * 0.7}v${r * 0.9}h${-r * 0.7}v${r * 0.7}` +
    `h${-r * 0.9}v${-r * 0.7}h${-r * 0.7}v${-r * 0.9}h${r * 0.7}z`,
];

// Models beyond the colours repeat them with another shape.
function mark(model, r = 6) {
  const shape = SHAPES[(model.number + Math.floor(model.number / COLOURS)) % SHAPES.length];
  return drawn("path", { class: `mark ${colour("f", model)}`, d: shape(r) });
}

// The class of a model's colour: "f" fills, "l" draws lines.
function colour(kind, model) {
  return `${kind}${model.number % COLOURS}`;
}

function legend(group) {
  const list = element("ul", { class: "legend" });
  group.models.forEach((model) => {
    const picture = drawn("svg", { viewBox: "-8 -8 16 16", "aria-hidden": "true" }, mark(model, 5.5));
    list.append(element("li", null, picture, element("span", null, model.title)));
  });
  return list;
}

function linear(low, high, from, to) {
  const range = high - low || 1;
  return (value) => from + ((value - low) / range) * (to - from);
}

function logarithmic(low, high, from, to) {
  const scale = linear(Math.log(low), Math.log(high), from, to);
  return (value) => scale(Math.log(value));
}

// About `count` round numbers from low to high.
function ticks(low, high, count) {
  const rough = (high - low || 1) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) {
    found.push(i * step);
  }
  return { values: found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

// Round numbers on a log axis: powers of ten with as many between them as there is room for.
function logTicks(low, high, most) {
  for (const factors of [[1, 2, 3, 5, 7], [1, 2, 5], [1, 3], [1]]) {
    const found = [];
    for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e += 1) {
      for (const factor of factors) {
        const value = factor * 10 ** e;
        if (value >= low * 0.999 && value <= high * 1.001) found.push(value);
      }
    }
    if (found.length <= most || factors.length === 1) {
      const every = Math.ceil(found.length / most);
      return found.filter((_, i) => i % every === 0);
    }
  }
  return [];
}

function extent(values, share) {
  const low = Math.min(...values);
  const high = Math.max(...values);
  const margin = (high - low) * share || Math.abs(high) * 0.05 || 1;
  return [low - margin, high + margin];
}

const ruler = document.createElement("canvas").getContext("2d");

function textWidth(text, size, weight = 400) {
  ruler.font = `${weight} ${size}px ${getComputedStyle(document.body).fontFamily}`;
  return ruler.measureText(text).width;
}

function shortened(text, width, size) {
  if (textWidth(text, size) <= width) return text;
  let kept = text;
  while (kept.length > 1 && textWidth(`…${kept}`, size) > width) kept = kept.slice(1);
  return `…${kept}`;
}

// Calls draw(width) now and whenever the width of a box changes.
function whenWide(box, draw) {
  let before = 0;
  const again = () => {
    const width = Math.floor(box.clientWidth);
    if (width > 0 && width !== before) {
      before = width;
      draw(width);
    }
  };
  new ResizeObserver(again).observe(box);
  again();
  return () => {
    before = 0;
    again();
  };
}

function canvas(width, height, label) {
  return drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": label });
}

// The axis of values: grid lines and numbers on the left.
function valueAxis(svg, scale, low, high, left, right, top, bottom) {
  const { values, digits } = ticks(low, high, clamp(Math.round((bottom - top) / 55), 3, 8));
  for (const value of values) {
    const y = scale(value);
    svg.append(
      drawn("line", { class: "grid", x1: left, x2: right, y1: y, y2: y }),
      drawn("text", { class: "tick", x: left - 8, y: y + 4, "text-anchor": "end" }, figure(value, digits)),
    );
  }
}
