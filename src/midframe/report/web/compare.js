// Two pictures of an image behind a divider that pointer, touch and keys move.
const PIXEL = 4; // screen pixels of one of the picture's when zoomed

function comparison(box, group) {
  const view = { group, image: 0, at: 50, zoomed: false, x: 50, y: 50, chosen: [null, null] };
  const stage = stageOf(view);
  const find = (key) => group.album.findIndex((one) => one.key === key);
  view.titles = element("b");
  view.values = element("div", { class: "values" });
  view.image_menu = menu("Image", group.album.map(imageTitle), 0, (i) => view.show(i));
  view.sides = ["Left", "Right"].map((side, k) => menu(side, [], 0, (i) => {
    view.chosen[k] = group.album[view.image].layers[i].label;
    view.paint();
  }));
  view.zoom = tool("Zoom to pixels", () => view.setZoom(!view.zoomed));
  view.zoom.setAttribute("aria-pressed", "false");
  const previous = tool("‹ Previous", () => view.show(view.image - 1));
  const next = tool("Next ›", () => view.show(view.image + 1));
  const swap = tool("Swap", () => { view.chosen.reverse(); view.paint(); });
  const several = group.album.length > 1;
  view.thumbs = several ? thumbnails(view) : null;
  const keys = element("p", { class: "keys" });
  const key = (text) => element("kbd", null, text);
  keys.append("Drag the divider, or focus it and press ", key("←"), " ", key("→"), ". ", key("N"), " and ",
    key("P"), " go to the next and previous image, ", key("Z"),
    " zooms to pixels; then drag the picture, or press ", key("Shift"), " with arrows, to move it.");
  const figure = element("figure", { class: "compare" },
    element("div", { class: "tools" }, view.image_menu.field, several ? previous : null, several ? next : null),
    element("div", { class: "tools" }, view.sides[0].field, view.sides[1].field, swap, view.zoom),
    stage, element("figcaption", null, view.titles, view.values), view.thumbs, keys);
  box.append(figure);
  controlImages(view, group);
  figure.addEventListener("keydown", (event) => pressed(event, view));
  view.figure = figure;
  view.show(0);
  view.open = (name, only) => {
    const i = find(name);
    if (i < 0) return false;
    if (!only) {
      view.show(i);
      figure.scrollIntoView({ block: "start" });
      view.handle.focus({ preventScroll: true });
    }
    return true;
  };
  return view;
}

function imageTitle(one) {
  return one.title + (one.reasons.length ? ` (${one.reasons.join(", ")})` : "");
}

function tool(text, clicked) {
  const button = element("button", { type: "button" }, text);
  button.addEventListener("click", clicked);
  return button;
}

function thumbnails(view) {
  const list = element("div", { class: "thumbs", role: "group", "aria-label": "Images" });
  view.group.album.forEach((one, i) => {
    const picture = one.layers.find((layer) => layer.kind === "truth") || one.layers[0];
    const button = element("button", { type: "button" },
      element("img", { src: picture.source, alt: "", loading: "lazy" }),
      element("b", null, one.title), element("em", null, one.reasons.join(", ")));
    button.addEventListener("click", () => view.show(i));
    list.append(button);
  });
  return list;
}

// What changes the image, the pictures, the zoom.
function controlImages(view, group) {
  view.show = (i) => {
    view.image = (i + group.album.length) % group.album.length;
    const one = group.album[view.image];
    view.image_menu.select.value = String(view.image);
    view.stage.style.aspectRatio = `${one.width} / ${one.height}`;
    view.stage.style.maxWidth = `calc(78vh * ${one.width / one.height})`;
    view.sides.forEach((side) => {
      side.select.replaceChildren(...one.layers.map((layer, k) => element("option", { value: k }, layer.label)));
    });
    view.titles.textContent = `${one.title}, ${one.full.join("×")} pixels` +
      (one.full[0] !== one.width ? `, shown at ${one.width}×${one.height}` : "");
    view.values.replaceChildren(...valuesOf(group, one.key).map((text) => element("span", null, text)));
    if (view.thumbs) {
      [...view.thumbs.children].forEach((button, k) => button.setAttribute("aria-current", String(k === view.image)));
      const now = view.thumbs.children[view.image];
      view.thumbs.scrollTo({ left: now.offsetLeft - view.thumbs.offsetLeft - 120 });
    }
    view.paint();
  };
  view.paint = () => {
    const one = group.album[view.image];
    const usual = usualLayers(one.layers);
    [0, 1].forEach((side) => {
      let k = one.layers.findIndex((layer) => layer.label === view.chosen[side]);
      if (k < 0) k = usual[side];
      const layer = one.layers[k];
      view.sides[side].select.value = String(k);
      if (view.chosen[side] === null) view.chosen[side] = layer.label;
      view.pictures[side].src = layer.source;
      view.pictures[side].alt = `${layer.label}, image ${one.title}`;
      view.tags[side].textContent = layer.label;
    });
    view.move(view.at);
  };
  view.setZoom = (zoomed, x = 50, y = 50) => {
    Object.assign(view, { zoomed, x, y });
    view.zoom.setAttribute("aria-pressed", String(zoomed));
    view.stage.classList.toggle("zoomed", zoomed);
    view.pan(0, 0);
  };
}

// The best model on the left, the truth on the right; else two models.
function usualLayers(layers) {
  const of = (kind) => layers.map((layer, k) => [layer, k]).filter(([layer]) => layer.kind === kind).map(([, k]) => k);
  const predictions = of("prediction");
  const truth = of("truth");
  const left = predictions.length ? predictions[0] : 0;
  const right = truth.length ? truth[0] : predictions[1];
  return [left, right === undefined ? left : right];
}

function valuesOf(group, key) {
  const i = group.images.keys.indexOf(key);
  if (i < 0) return [];
  return group.models.map((model, m) => {
    const told = group.columns.map((column) => {
      const value = group.images.values[column.name][m][i];
      return value === null ? null : `${withUnit(value, column)}${column.unit ? "" : ` ${column.title}`}`;
    });
    const known = told.filter((text) => text !== null);
    return known.length ? `${model.title}: ${known.join(", ")}` : "";
  }).filter((text) => text);
}

function stageOf(view) {
  view.pictures = [0, 1].map(() => element("img", { alt: "", draggable: "false" }));
  view.layers = view.pictures.map((picture) => element("div", { class: "layer" }, picture));
  view.tags = ["left", "right"].map((side) => element("span", { class: `tag ${side}`, "aria-hidden": "true" }));
  view.handle = element("div", {
    class: "handle", role: "slider", tabindex: 0, "aria-orientation": "horizontal",
    "aria-label": "Divider between the left and the right picture", "aria-valuemin": 0, "aria-valuemax": 100,
  });
  // the right picture lies below, the left one is cut off at the divider
  view.stage = element("div", { class: "stage" }, view.layers[1], view.layers[0], ...view.tags, view.handle);
  view.move = (at) => {
    view.at = clamp(at, 0, 100);
    view.layers[0].style.clipPath = `inset(0 ${100 - view.at}% 0 0)`;
    view.handle.style.left = `${view.at}%`;
    const share = Math.round(view.at);
    view.handle.setAttribute("aria-valuenow", share);
    view.handle.setAttribute("aria-valuetext", `${share} % ${view.tags[0].textContent}, then ${view.tags[1].textContent}`);
    view.tags[0].style.opacity = view.at < 12 ? 0 : 1;
    view.tags[1].style.opacity = view.at > 88 ? 0 : 1;
  };
  view.pan = (dx, dy) => {
    const one = view.group.album[view.image];
    const zoom = view.zoomed ? Math.max(2, (PIXEL * one.width) / view.stage.clientWidth) : 1;
    if (zoom > 1) {
      view.x = clamp(view.x - (100 * dx) / (view.stage.clientWidth * (zoom - 1)), 0, 100);
      view.y = clamp(view.y - (100 * dy) / (view.stage.clientHeight * (zoom - 1)), 0, 100);
    }
    for (const picture of view.pictures) {
      picture.style.transformOrigin = `${view.x}% ${view.y}%`;
      picture.style.transform = zoom > 1 ? `scale(${zoom})` : "none";
    }
  };
  followPointer(view);
  return view.stage;
}

function followPointer(view) {
  const { stage, handle } = view;
  let held = null;
  const place = (event) => {
    const frame = stage.getBoundingClientRect();
    return [(100 * (event.clientX - frame.x)) / frame.width, (100 * (event.clientY - frame.y)) / frame.height];
  };
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const pans = view.zoomed && event.target !== handle;
    held = { pans, x: event.clientX, y: event.clientY };
    stage.setPointerCapture(event.pointerId);
    if (!pans) {
      view.move(place(event)[0]);
      handle.focus({ preventScroll: true });
    }
    event.preventDefault();
  });
  stage.addEventListener("pointermove", (event) => {
    if (held === null) return;
    if (held.pans) view.pan(event.clientX - held.x, event.clientY - held.y);
    else view.move(place(event)[0]);
    Object.assign(held, { x: event.clientX, y: event.clientY });
  });
  for (const kind of ["pointerup", "pointercancel"]) stage.addEventListener(kind, () => { held = null; });
  stage.addEventListener("dblclick", (event) => view.setZoom(!view.zoomed, ...place(event)));
}

function pressed(event, view) {
  if (event.target.tagName === "SELECT" || event.ctrlKey || event.metaKey || event.altKey) return;
  const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  const name = event.key.toLowerCase();
  if (arrow && event.shiftKey && view.zoomed) view.pan(-40 * arrow[0], -40 * arrow[1]);
  else if (name === "n") view.show(view.image + 1);
  else if (name === "p") view.show(view.image - 1);
  else if (name === "z") view.setZoom(!view.zoomed);
  else if (event.target !== view.handle) return;
  else if (arrow) view.move(view.at + (arrow[0] - arrow[1]) * (event.shiftKey ? 10 : 1));
  else if (event.key === "PageUp" || event.key === "PageDown") view.move(view.at + (event.key === "PageUp" ? 10 : -10));
  else if (event.key === "Home") view.move(0);
  else if (event.key === "End") view.move(100);
  else return;
  event.preventDefault();
}
