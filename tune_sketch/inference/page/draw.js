// What the page shows of a drawing; after each change it is sent, one request at a time, newest wins.
const classes = document.getElementById("classes");
const overlay = document.getElementById("overlay");
const note = document.getElementById("note");
let isAsking = false;
let hasChanged = false;

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
    const drawing = JSON.stringify({ strokes: drawnStrokes() });
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
