// Puts everything in its place.
const views = [];

function start() {
  document.querySelectorAll("table").forEach(makeSortable);
  const opens = data.groups.map((group, i) => {
    const box = document.querySelector(`[data-compare="${i}"]`);
    if (!box) return () => false;
    const view = comparison(box, group);
    views.push(view);
    return view.open;
  });
  document.querySelectorAll("[data-plot]").forEach((box) => {
    const i = Number(box.dataset.group);
    const group = data.groups[i];
    if (box.dataset.plot === "scatter") scatter(box, group);
    else if (box.dataset.plot === "images") imagesPlot(box, group, opens[i]);
    else partsPlot(box, group, group.parts[Number(box.dataset.part)]);
  });
  // with nothing in focus, keys go to the comparison that is in sight
  document.addEventListener("keydown", (event) => {
    if (event.target !== document.body) return;
    const seen = views.find((view) => {
      const frame = view.stage.getBoundingClientRect();
      return frame.bottom > innerHeight * 0.25 && frame.top < innerHeight * 0.75;
    });
    if (seen) pressed(event, seen);
  });
  addEventListener("scroll", scrolled, { passive: true });
}

start();
