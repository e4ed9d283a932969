// Strokes by mouse, pen or finger; after each movement they are sent, one request at a time, newest wins.
const paper = document.getElementById("paper");
const context = paper.getContext("2d");
const classes = document.getElementById("classes");
const overlay = document.getElementById("overlay");
const note = document.getElementById("note");
const strokes = [];
let current = null;
let isAsking = false;
let hasChanged = false;

function place(event) {
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

function show(answer) {
  classes.replaceChildren(...answer.predictions.map(([name, probability]) => {
    const item = document.createElement("li");
    const bar = document.createElement("span");
    bar.className = "bar";
    bar.style.width = `${100 * probability}%`;
    const text = document.createElement("span");
    text.className = "text";
    const label = document.createElement("span");
    label.className = "name";
    label.textContent = name.replaceAll("_", " ");
    const number = document.createElement("span");
    number.textContent = `${(100 * probability).toFixed(1)} %`;
    text.append(label, number);
    item.append(bar, text);
    return item;
  }));
  overlay.hidden = !answer.overlay;
  if (answer.overlay) overlay.src = answer.overlay;
  note.textContent = answer.overlay ? "Red spoke for the best class." : "The five best classes appear while you draw.";
}

async function ask() {
  hasChanged = true;
  if (isAsking) return;
  isAsking = true;
  while (hasChanged) {
    hasChanged = false;
    const scaled = strokes.map((stroke) => stroke.map(([x, y]) => [x / paper.width, y / paper.height]));
    const drawing = JSON.stringify({ strokes: scaled });
    try {
      const reply = await fetch("recognise", { method: "POST", body: drawing, headers: { "Content-Type": "application/json" } });
      if (!reply.ok) throw new Error(`the program answered ${reply.status}`);
      show(await reply.json());
    } catch (error) {
      note.textContent = `No answer: ${error.message}`;
    }
  }
  isAsking = false;
}

paper.addEventListener("pointerdown", (event) => {
  paper.setPointerCapture(event.pointerId);
  current = [place(event)];
  strokes.push(current);
  redraw();
});
paper.addEventListener("pointermove", (event) => {
  if (!current) return;
  const events = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
  for (const one of events.length ? events : [event]) current.push(place(one));
  redraw();
  ask();
});
for (const kind of ["pointerup", "pointercancel"]) {
  paper.addEventListener(kind, () => {
    if (current) ask();
    current = null;
  });
}
document.getElementById("undo").addEventListener("click", () => { strokes.pop(); redraw(); ask(); });
document.getElementById("clear").addEventListener("click", () => { strokes.length = 0; redraw(); ask(); });
