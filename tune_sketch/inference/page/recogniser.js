// Strokes to pixels, as drawing_page.py and data/strokes.py draw them, and pixels to probabilities: a worker.
let session = null;
let about = null;
let ort = null;

/** Half to even, as NumPy rounds. */
function rint(value) {
  const low = Math.floor(value);
  const rest = value - low;
  if (rest !== 0.5) return Math.round(value);
  return low % 2 ? low + 1 : low;
}

/** The smallest and largest x and y of strokes. */
function boundsOf(strokes) {
  const bounds = [Infinity, Infinity, -Infinity, -Infinity];
  for (const stroke of strokes) {
    for (const [x, y] of stroke) {
      bounds[0] = Math.min(bounds[0], x);
      bounds[1] = Math.min(bounds[1], y);
      bounds[2] = Math.max(bounds[2], x);
      bounds[3] = Math.max(bounds[3], y);
    }
  }
  return bounds;
}

/** Each pixel's ink, 0 to 255: the share that a round pen covers, by its distance to the nearest segment. */
function drawStrokes(strokes, sidePx, extentFraction) {
  const [left, top, right, bottom] = boundsOf(strokes);
  const extent = Math.max(right - left, bottom - top);
  const filled = extentFraction * Math.min(1, extent / about.small_fraction);
  const penPx = Math.max(about.least_pen_px, about.pen_width_fraction * sidePx);
  const margin = 0.5 * (1 - filled) * about.room_fraction;
  const roomPx = Math.max(sidePx * (1 - 2 * margin) - penPx, 0);
  const scale = extent > 0 ? roomPx / extent : 0;
  const fit = ([x, y]) => [(x - (left + right) / 2) * scale + sidePx / 2, (y - (top + bottom) / 2) * scale + sidePx / 2];
  const reach = penPx / 2 + 0.5;
  const squares = new Float64Array(sidePx * sidePx).fill(reach * reach);
  for (const stroke of strokes) {
    const points = stroke.map(fit);
    for (let index = 0; index < Math.max(1, points.length - 1); index++) {
      markSegment(squares, sidePx, reach, points[index], points[Math.min(index + 1, points.length - 1)]);
    }
  }
  return squares.map((square) => rint(255 * Math.min(Math.max(reach - Math.sqrt(square), 0), Math.min(1, penPx))));
}

/** Lower the squared distances of the pixels near a segment. */
function markSegment(squares, sidePx, reach, [startX, startY], [endX, endY]) {
  const stepX = endX - startX, stepY = endY - startY;
  const length = Math.max(stepX * stepX + stepY * stepY, 1e-12);
  const first = (low) => Math.max(0, Math.floor(low - reach - 0.5));
  const last = (high) => Math.min(sidePx - 1, Math.ceil(high + reach - 0.5));
  for (let row = first(Math.min(startY, endY)); row <= last(Math.max(startY, endY)); row++) {
    for (let column = first(Math.min(startX, endX)); column <= last(Math.max(startX, endX)); column++) {
      const x = column + 0.5 - startX, y = row + 0.5 - startY;
      const along = Math.min(1, Math.max(0, (x * stepX + y * stepY) / length));
      const acrossX = x - along * stepX, acrossY = y - along * stepY;
      const index = row * sidePx + column;
      squares[index] = Math.min(squares[index], acrossX * acrossX + acrossY * acrossY);
    }
  }
}

/** A drawing for the network, its lines as wide and as dark as in training. */
function prepareStrokes(strokes, extentFraction) {
  const ink = drawStrokes(strokes, about.image_px, extentFraction);
  let total = 0, squared = 0;
  for (const value of ink) {
    total += value;
    squared += value * value;
  }
  const strength = squared / total / 255;
  const darkness = total ? Math.min(1, about.ink_strength / strength) : 1;
  return ink.map((value) => (about.invert ? rint(darkness * value) : 255 - rint(darkness * value)));
}

/** The mean probability of each class over the sizes that the training drawings have, or of their median alone. */
async function recognise(strokes, isQuick) {
  const extents = isQuick ? [about.extent_fraction] : [about.extent_fraction, ...about.extent_range];
  const area = about.image_px * about.image_px;
  const images = new Uint8Array(extents.length * area);
  extents.forEach((extent, view) => images.set(prepareStrokes(strokes, extent), view * area));
  const input = new ort.Tensor("uint8", images, [extents.length, about.image_px, about.image_px]);
  const { probabilities } = await session.run({ images: input });
  const numClasses = probabilities.dims[1];
  const mean = new Array(numClasses).fill(0);
  probabilities.data.forEach((value, index) => { mean[index % numClasses] += value / extents.length; });
  return mean;
}

async function fetchBytes(address) {
  const reply = await fetch(address);
  if (!reply.ok) throw new Error(`${address}: the server answered ${reply.status}`);
  return new Uint8Array(await reply.arrayBuffer());
}

/** Start the runtime and run the network once, so that the first drawing need not wait. */
async function load({ base, runtime, binary, network, model }) {
  about = model;
  const fetched = fetchBytes(new URL(network, base)); // while the runtime comes
  ort = await import(new URL(runtime, base).href);
  ort.env.wasm.numThreads = 1; // several threads need headers that static hosts do not send
  ort.env.wasm.wasmPaths = { wasm: new URL(binary, base).href };
  session = await ort.InferenceSession.create(await fetched, { executionProviders: ["wasm"] });
  await recognise([[[0.2, 0.2], [0.8, 0.8]]], false);
}

self.onmessage = async ({ data }) => {
  try {
    const answer = data.load ? await load(data.load) : await recognise(data.strokes, data.isQuick);
    self.postMessage({ id: data.id, answer });
  } catch (error) {
    self.postMessage({ id: data.id, error: String(error.message || error) });
  }
};
