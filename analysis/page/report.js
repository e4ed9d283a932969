// Figures are at most as wide as the page; a click shows one at its own size, to be moved about.
document.querySelectorAll("figure img").forEach((image) => {
  image.addEventListener("click", () => image.classList.toggle("enlarged"));
});

// A click on a column's title sorts a long table by it; numbers as numbers, empty cells last.
document.querySelectorAll("table.sortable").forEach((table) => {
  const body = table.tBodies[0];
  table.querySelectorAll("th").forEach((title, column) => {
    let down = false;
    title.addEventListener("click", () => {
      down = !down;
      const key = (row) => row.cells[column].textContent;
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === "" || y === "") return (x === "") - (y === "");
        const [m, n] = [Number(x.replace(" %", "")), Number(y.replace(" %", ""))];
        const order = isNaN(m) || isNaN(n) ? x.localeCompare(y) : m - n;
        return down ? -order : order;
      });
      body.append(...rows);
    });
  });
});

// Parallel coordinates: the line under the pointer is named; a span dragged on an axis keeps the lines that cross it.
document.querySelectorAll("svg.parallel").forEach((svg) => {
  const lines = [...svg.querySelectorAll("polyline")];
  const told = svg.parentElement.querySelector(".told");
  const hint = told.textContent;
  const spans = new Map(); // axis -> [top, bottom]
  const heights = lines.map((line) => line.getAttribute("points").split(" ").map((point) => Number(point.split(",")[1])));
  const update = () => {
    let kept = 0;
    lines.forEach((line, index) => {
      const isKept = [...spans].every(([axis, [top, bottom]]) => heights[index][axis] >= top && heights[index][axis] <= bottom);
      line.classList.toggle("off", !isKept);
      kept += isKept;
    });
    told.textContent = spans.size ? `${kept} of ${lines.length} trials are kept; click an axis to let go.` : hint;
  };
  lines.forEach((line) => {
    line.addEventListener("pointerenter", () => {
      line.classList.add("chosen");
      line.parentElement.insertBefore(line, svg.querySelector("g"));
      told.textContent = line.dataset.label;
    });
    line.addEventListener("pointerleave", () => line.classList.remove("chosen"));
  });
  svg.querySelectorAll(".brush").forEach((brush) => {
    const axis = Number(brush.dataset.axis);
    const kept = svg.querySelector(`.kept[data-axis="${axis}"]`);
    const height = (event) => event.offsetY * (svg.viewBox.baseVal.height / svg.clientHeight);
    let from = null;
    brush.addEventListener("pointerdown", (event) => { from = height(event); brush.setPointerCapture(event.pointerId); });
    brush.addEventListener("pointermove", (event) => {
      if (from === null) return;
      const [top, bottom] = [Math.min(from, height(event)), Math.max(from, height(event))];
      if (bottom - top < 4) return;
      kept.setAttribute("y", top);
      kept.setAttribute("height", bottom - top);
      spans.set(axis, [top, bottom]);
      update();
    });
    brush.addEventListener("pointerup", (event) => {
      if (from !== null && Math.abs(height(event) - from) < 4) {
        kept.setAttribute("height", 0);
        spans.delete(axis);
        update();
      }
      from = null;
    });
  });
});
