// Zones and lines are drawn here, with mouse, finger or keys, tried on what has come, and saved.

import { $, ask, clock, make, svg } from "./dom.js";
import { drawing, labels, loadShapes, pack, shapesPath, unpack } from "./shapes.js";

const dialog = $("draw"), part = (name) => dialog.querySelector(`[data-part=${name}]`);
const TRY_PAUSE = 300; // milliseconds after the last change
const STEP = 0.01, LARGE_STEP = 0.05; // of the picture, with an arrow key
const MAX_CORNERS = 64;
const ROUND = 10000;
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
let source, version, shapes, drawn, cursor, ratio, counts, saved = () => {}, trying = 0, dragged = null;

const within = (value) => Math.round(Math.min(1, Math.max(0, value)) * ROUND) / ROUND;
const json = (method, body) => ({ method, headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

// Opens the editor over a picture; `whenSaved` is told the new shapes.
export async function editShapes(name, image, whenSaved) {
  [source, shapes, drawn, counts, saved] = [name, [], null, null, whenSaved];
  cursor = [0.5, 0.5];
  setRatio(image.naturalWidth / image.naturalHeight || 16 / 9);
  part("title").textContent = `Zones and lines of ${name}`;
  part("image").src = image.src;
  say("");
  enable(false); // what is drawn before the shapes are there would go with their coming
  dialog.showModal();
  try {
    const found = await loadShapes(name);
    if (source !== name) return;
    [version, shapes] = [found.version, unpack(found)];
    enable(true);
    changed();
  } catch (error) {
    say(error.message);
  }
}

function enable(loaded) {
  for (const name of ["zone", "line", "save"]) part(name).disabled = !loaded;
}

// The picture's place has its form before the picture is there.
function setRatio(widthToHeight) {
  ratio = widthToHeight;
  part("surface").style.aspectRatio = ratio;
}

part("image").addEventListener("load", ({ target }) => {
  setRatio(target.naturalWidth / target.naturalHeight);
  show();
});

function say(text) {
  part("status").textContent = text;
}

function begin(kind) {
  let number = 1;
  while (shapes.some(({ name }) => name === `${kind}-${number}`)) number += 1;
  drawn = { kind, name: `${kind}-${number}`, points: [] };
  say(kind === "zone"
    ? "Set its corners: click, tap, or arrow keys and space. Enter, or the first corner again, finishes it."
    : "Set its start and its end: click, tap, or arrow keys and space. In is from left to right, seen from the start.");
  part("surface").focus();
  show();
}

function add(point) {
  const { kind, points } = drawn;
  const [x, y] = points[0] ?? [2, 2];
  if (points.length > 2 && Math.hypot(point[0] - x, point[1] - y) < 0.02) return finish();
  points.push(point);
  if (points.length === (kind === "line" ? 2 : MAX_CORNERS)) finish();
  else show();
}

function finish() {
  const least = drawn.kind === "line" ? 2 : 3;
  if (drawn.points.length < least) {
    say(`A ${drawn.kind} needs ${least} points.`);
    return;
  }
  shapes.push(drawn);
  drawn = null;
  say("");
  changed();
}

function undo() {
  drawn?.points.pop();
  show();
}

function cancel() {
  drawn = null;
  say("");
  show();
}

// Something is different: it is shown and tried.
function changed() {
  counts = null;
  show();
  list();
  const turn = ++trying;
  setTimeout(async () => {
    if (turn !== trying || !dialog.open) return;
    try {
      const answer = await ask(`${shapesPath(source)}/try`, json("POST", pack(shapes)));
      if (turn !== trying) return;
      counts = answer;
      tell();
    } catch (error) {
      if (turn === trying) say(error.message);
    }
  }, TRY_PAUSE);
}

function show() {
  const all = drawn ? [...shapes, drawn] : shapes;
  part("surface").querySelectorAll("svg, .label").forEach((old) => old.remove());
  const handles = svg("svg", { class: "handles", "aria-hidden": "true" });
  shapes.forEach((shape, index) => shape.points.forEach(([x, y], corner) => {
    const handle = svg("circle", { cx: `${100 * x}%`, cy: `${100 * y}%`, r: 7 });
    handle.dataset.place = `${index}.${corner}`;
    handles.append(handle);
  }));
  for (const [x, y] of drawn?.points ?? []) handles.append(svg("circle", { cx: `${100 * x}%`, cy: `${100 * y}%`, r: 5, class: "set" }));
  if (drawn) handles.append(svg("circle", { cx: `${100 * cursor[0]}%`, cy: `${100 * cursor[1]}%`, r: 9, class: "cursor" }));
  part("surface").append(drawing(all.filter(({ points }) => points.length), ratio), handles, ...labels(shapes));
  for (const name of ["finish", "undo", "cancel"]) part(name).disabled = !drawn;
}

function list() {
  part("list").replaceChildren(...shapes.map((shape) => {
    const name = make("input", { value: shape.name, maxLength: 64, ariaLabel: `name of ${shape.kind} ${shape.name}` });
    name.addEventListener("change", () => { shape.name = name.value; changed(); });
    const remove = make("button", { type: "button", text: "Delete", ariaLabel: `delete ${shape.name}` });
    remove.addEventListener("click", () => { shapes = shapes.filter((other) => other !== shape); changed(); });
    const buttons = [remove];
    if (shape.kind === "line") {
      const turn = make("button", { type: "button", text: "Turn round", ariaLabel: `turn ${shape.name} round` });
      turn.addEventListener("click", () => { shape.points.reverse(); changed(); });
      buttons.unshift(turn);
    }
    return make("li", {}, make("span", { text: shape.kind }), name, make("output", { ariaLive: "polite" }), ...buttons);
  }));
}

// What each would have counted.
function tell() {
  const outputs = part("list").querySelectorAll("output");
  shapes.forEach(({ kind, name }, index) => {
    const found = counts[`${kind}s`].find((other) => other.name === name);
    outputs[index].textContent = !found ? "" : kind === "line"
      ? (counts.tracks ? `would have counted ${found.in} in, ${found.out} out` : "nothing was tracked: lines are tried on tracks")
      : `would have counted ${found.most} at once, ${found.tracks} tracks`;
  });
  if (drawn) return; // what is said is how to draw
  const since = counts.since && clock(new Date(counts.since));
  say(since ? `Tried on ${counts.frames} frames and ${counts.tracks} tracks since ${since}.` : "No frame has come to try them on.");
}

async function save() {
  part("save").disabled = true;
  try {
    await ask(`${shapesPath(source)}/shapes`, json("PUT", { ...pack(shapes), version }));
    dialog.close();
    saved(shapes);
  } catch (error) {
    say(error.message);
  }
  part("save").disabled = false;
}

// -- mouse and finger

function place(pointer) {
  const box = part("surface").getBoundingClientRect();
  return [within((pointer.clientX - box.left) / box.width), within((pointer.clientY - box.top) / box.height)];
}

part("surface").addEventListener("pointerdown", (pointer) => {
  const handle = pointer.target.dataset?.place;
  if (drawn) {
    cursor = place(pointer);
    add(cursor);
  } else if (handle) {
    dragged = handle.split(".").map(Number);
    part("surface").setPointerCapture(pointer.pointerId);
  }
});
part("surface").addEventListener("pointermove", (pointer) => {
  if (!dragged) return;
  shapes[dragged[0]].points[dragged[1]] = place(pointer);
  show();
});
for (const end of ["pointerup", "pointercancel"]) {
  part("surface").addEventListener(end, () => { if (dragged) { dragged = null; changed(); } });
}

// -- keys

part("surface").addEventListener("keydown", (press) => {
  if (!drawn) return;
  if (press.key in KEYS) {
    const step = press.shiftKey ? LARGE_STEP : STEP;
    cursor = cursor.map((value, axis) => within(value + KEYS[press.key][axis] * step));
    show();
  } else if (press.key === " ") add([...cursor]);
  else if (press.key === "Enter") finish();
  else if (press.key === "Backspace") undo();
  else if (press.key === "Escape") cancel();
  else return;
  press.preventDefault(); // Escape closes no dialog, space scrolls no page
});

part("zone").addEventListener("click", () => begin("zone"));
part("line").addEventListener("click", () => begin("line"));
part("finish").addEventListener("click", finish);
part("undo").addEventListener("click", undo);
part("cancel").addEventListener("click", cancel);
part("save").addEventListener("click", save);
