// Strokes on a sheet of paper by mouse, pen or finger; `ask` of the page is called after each change.
const paper = document.getElementById("paper");
const context = paper.getContext("2d");
const strokes = [];
let current = null;
let pointer = null;

function pointOf(event) {
  const box = paper.getBoundingClientRect();
  return [((event.clientX - box.left) / box.width) * paper.width, ((event.clientY - box.top) / box.height) * paper.height];
}

function redraw() {
  context.clearRect(0, 0, paper.width, paper.height);
  context.lineWidth = Math.max(4, paper.width * Number(paper.dataset.pen));
  context.lineCap = context.lineJoin = "round";
  for (const stroke of strokes) {
    context.beginPath();
    context.moveTo(...stroke[0]);
    for (const point of stroke) context.lineTo(...point);
    context.stroke();
  }
}

/** The strokes, each a list of [x, y] from 0 to 1 on the paper. */
function drawnStrokes() {
  return strokes.map((stroke) => stroke.map(([x, y]) => [x / paper.width, y / paper.height]));
}

paper.addEventListener("pointerdown", (event) => {
  if (current || event.button > 0) return; // a second finger draws nothing
  paper.setPointerCapture(event.pointerId);
  pointer = event.pointerId;
  current = [pointOf(event)];
  strokes.push(current);
  redraw();
});
paper.addEventListener("pointermove", (event) => {
  if (!current || event.pointerId !== pointer) return;
  const events = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
  for (const one of events.length ? events : [event]) current.push(pointOf(one));
  redraw();
  ask();
});
for (const kind of ["pointerup", "pointercancel"]) {
  paper.addEventListener(kind, (event) => {
    if (!current || event.pointerId !== pointer) return;
    current = null;
    ask();
  });
}
document.getElementById("undo").addEventListener("click", () => { strokes.pop(); redraw(); ask(); });
document.getElementById("clear").addEventListener("click", () => { strokes.length = 0; redraw(); ask(); });
