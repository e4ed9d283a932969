// The page around the worker: loads it, asks it after each change of the drawing, newest wins, shows its answer.
const about = JSON.parse(document.getElementById("about").textContent);
const classes = document.getElementById("classes");
const note = document.getElementById("note");
const waiting = new Map();
let worker = null;
let isReady = false;
let isAsking = false;
let hasChanged = false;
let numAsked = 0;
let isSlow = false;
const SLOW_MS = 100; // an answer that takes longer lags behind the pen

/** A message to the worker and its answer. */
function send(message) {
  return new Promise((resolve, reject) => {
    const id = ++numAsked;
    waiting.set(id, { resolve, reject });
    worker.postMessage({ id, ...message });
  });
}

/** Probabilities of all classes of strokes [[[x, y], ...], ...], x and y from 0 to 1. isQuick: by one size of three. */
function recognise(strokes, isQuick = false) {
  return send({ strokes, isQuick });
}

/** Three drawings of a class, cut out of the picture of all. */
function pictureOf(label) {
  const picture = document.createElement("span");
  picture.className = "picture";
  if (!about.pictures) return picture;
  const { columns, rows } = about.pictures;
  const column = label % columns, row = Math.floor(label / columns);
  picture.style.backgroundImage = "url(classes.png)";
  picture.style.backgroundSize = `${100 * columns}% ${100 * rows}%`;
  picture.style.backgroundPosition = `${columns > 1 ? (100 * column) / (columns - 1) : 0}% ${rows > 1 ? (100 * row) / (rows - 1) : 0}%`;
  return picture;
}

function textSpan(name, text) {
  const span = document.createElement("span");
  span.className = name;
  span.textContent = text;
  return span;
}

function show(probabilities) {
  const order = probabilities.map((value, label) => label).sort((a, b) => probabilities[b] - probabilities[a] || a - b);
  classes.replaceChildren(...order.slice(0, about.num_shown).map((label) => {
    const item = document.createElement("li");
    const bar = textSpan("bar", "");
    bar.style.width = `${100 * probabilities[label]}%`;
    const text = textSpan("text", "");
    text.append(bar, textSpan("name", about.shown_names[label]), textSpan("number", `${(100 * probabilities[label]).toFixed(1)} %`));
    item.append(pictureOf(label), text);
    return item;
  }));
}

async function ask() {
  hasChanged = true;
  if (isAsking || !isReady) return;
  isAsking = true;
  while (hasChanged) {
    hasChanged = false;
    const drawn = drawnStrokes();
    const isQuick = isSlow && current !== null; // the answer after the pen was lifted is always a whole one
    const begun = performance.now();
    try {
      if (drawn.length) show(await recognise(drawn, isQuick));
      if (drawn.length && !isQuick) isSlow = performance.now() - begun > SLOW_MS;
      if (!strokes.length) classes.replaceChildren();
    } catch (error) {
      note.textContent = `No answer: ${error.message}`;
    }
  }
  isAsking = false;
}

async function start() {
  if (location.protocol === "file:") {
    note.textContent = "This page was opened from the disk, where browsers let no page read its own files. In this folder, start: python -m http.server --bind 127.0.0.1, and open http://127.0.0.1:8000/";
    return;
  }
  const code = new Blob([document.getElementById("worker").textContent], { type: "text/javascript" });
  worker = new Worker(URL.createObjectURL(code), { type: "module" });
  worker.onmessage = ({ data }) => {
    const { resolve, reject } = waiting.get(data.id);
    waiting.delete(data.id);
    if (data.error === undefined) resolve(data.answer);
    else reject(new Error(data.error));
  };
  worker.onerror = (event) => { note.textContent = `This browser cannot run the recogniser: ${event.message || "it is too old"}`; };
  try {
    await send({ load: { base: location.href, model: about, ...about.files } });
  } catch (error) {
    note.textContent = `The recogniser did not start: ${error.message}`;
    return;
  }
  isReady = true;
  note.textContent = "Ready. Draw with finger, pen or mouse. Nothing you draw leaves this device.";
  ask();
  if (!("serviceWorker" in navigator)) return;
  await navigator.serviceWorker.register("service-worker.js");
  await navigator.serviceWorker.ready;
  note.textContent += " It works offline from now on.";
}

document.getElementById("known").append(...about.shown_names.map((name, label) => {
  const item = document.createElement("li");
  item.append(pictureOf(label), textSpan("name", name));
  return item;
}));
start().catch((error) => { note.textContent += ` Not kept for offline use: ${error.message}`; });
