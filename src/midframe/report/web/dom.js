// Small helpers: elements, the tooltip, numbers as text.
const data = JSON.parse(document.getElementById("report-data").textContent);
const SVG = "http://www.w3.org/2000/svg";
const COLOURS = 8;

function filled(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function element(tag, attributes, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

function drawn(tag, attributes, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function clamp(value, low, high) {
  return Math.min(high, Math.max(low, value));
}

// ---- numbers

function figure(value, digits) {
  if (value === null || value === undefined) return "–";
  return value.toFixed(digits).replace("-", "−");
}

function scaled(value) {
  for (const [limit, letter] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (value >= limit) return `${Number((value / limit).toPrecision(3))} ${letter}`;
  }
  return String(Number(value.toPrecision(3)));
}

function withUnit(value, column) {
  return figure(value, column.digits) + (column.unit && value !== null ? ` ${column.unit}` : "");
}

function named(column) {
  const unit = column.unit ? `, ${column.unit}` : "";
  return `${column.title}${unit} (${column.better} is better)`;
}

// ---- the tooltip, one for the page

const tip = document.getElementById("tip");
const said = document.getElementById("said");

let place = () => [0, 0];

// Shows a title and pairs of texts near a place in the window, which is asked for again where the
// page scrolls; tells them to screen readers, too.
function showTip(at, title, pairs, aloud) {
  place = at;
  tip.replaceChildren(
    element("b", null, title),
    ...pairs.map(([name, text]) => element("span", null, name, element("i", null, text))),
  );
  tip.hidden = false;
  placeTip();
  if (aloud) said.textContent = [title, ...pairs.map((pair) => pair.join(" "))].join(", ");
}

function placeTip() {
  const [x, y] = place();
  tip.style.visibility = y < 0 || y > innerHeight ? "hidden" : "visible";
  const box = tip.getBoundingClientRect();
  const left = x + 14 + box.width > innerWidth ? x - box.width - 14 : x + 14;
  tip.style.left = `${clamp(left, 4, Math.max(4, innerWidth - box.width - 4))}px`;
  tip.style.top = `${clamp(y - box.height - 10, 4, Math.max(4, innerHeight - box.height - 4))}px`;
}

function hideTip() {
  tip.hidden = true;
}

// What the keyboard shows stays where the page scrolls to it, what the pointer shows does not.
function scrolled() {
  const keeps = document.activeElement && document.activeElement.closest("svg");
  if (keeps && !tip.hidden) placeTip();
  else hideTip();
}

// ---- controls

// A row of buttons of which one is pressed.
function choice(title, names, chosen, changed) {
  const buttons = names.map((name, i) => {
    const pressed = i === chosen ? "true" : "false";
    const button = element("button", { type: "button", class: "pick", "aria-pressed": pressed }, name);
    button.addEventListener("click", () => {
      buttons.forEach((other, j) => other.setAttribute("aria-pressed", String(i === j)));
      changed(i);
    });
    return button;
  });
  const group = element("div", { class: "choice", role: "group", "aria-label": title });
  group.append(element("span", null, title), ...buttons);
  return group;
}

let menus = 0;

function menu(title, names, chosen, changed) {
  const id = `menu-${(menus += 1)}`;
  const select = element("select", { id });
  names.forEach((name, i) => select.append(element("option", { value: i }, name)));
  select.value = String(chosen);
  select.addEventListener("change", () => changed(Number(select.value)));
  const field = element("span", { class: "field" }, element("label", { for: id }, title), select);
  return { field, select };
}
