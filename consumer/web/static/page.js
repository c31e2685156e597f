// The live page: what the server tells comes in, tiles, chart and history go out; events have modules of their own.

import { $, ask, clock, make, option, pause } from "./dom.js";
import { count, drawChart, know } from "./chart.js";
import { picture } from "./pictures.js";
import { editShapes } from "./draw.js";
import { loadShapes, overlay, unpack } from "./shapes.js";
import * as events from "./events.js";

const PAGE = 25, MAX_ROWS = 500;
const PICTURE_PAUSE = 250; // milliseconds between two pictures of a tile
const RETRY_PAUSE = 5000; // milliseconds until a connection that the browser has given up is tried again
const tiles = new Map();
const coming = []; // rows that are shown together: many cameras send hundreds of results a second
let oldest = null, stream;
let told = { shapes: false, configure: false }; // what the server lets this page do

const framePath = (id) => "/frames/" + id.split("/").map(encodeURIComponent).join("/");
const wanted = (result) =>
  (!$("source").value || result.source === $("source").value) &&
  (!$("class").value || result.summary.some((item) => item.class === $("class").value));

function words(result) {
  const number = new Map();
  for (const item of result.summary) number.set(item.class, (number.get(item.class) ?? 0) + 1);
  // The list of a long message may not be there.
  if (!number.size && result.detections_count) return `${result.detections_count} objects`;
  return [...number].map(([name, count]) => `${count} ${name}`).join(", ");
}

// Who is in the zones, and who has crossed the lines.
function tallies({ zones, lines }) {
  return [
    ...(zones ?? []).map(({ name, count }) => `${name}: ${count}`),
    ...(lines ?? []).map((line) => `${line.name}: ${line.in_total} in, ${line.out_total} out`),
  ].join(" · ");
}

// Pictures are fetched of the tiles that can be seen.
const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const made = tiles.get(target.dataset.source);
    made.visible = isIntersecting;
    if (isIntersecting) follow(made);
    if (isIntersecting && told.shapes && !made.shapes) showShapes(made, target.dataset.source);
  }
}, { rootMargin: "200px" });

function tile(name) {
  if (tiles.has(name)) return tiles.get(name);
  const article = $("tile").content.firstElementChild.cloneNode(true);
  article.querySelector("h3").textContent = name;
  article.dataset.source = name;
  const after = [...$("tiles").children].find((other) => other.dataset.source > name);
  $("tiles").insertBefore(article, after ?? null);
  const made = { article, image: article.querySelector("img"), busy: false, visible: false, next: null, seenAt: 0 };
  tiles.set(name, made);
  article.querySelector(".edit").addEventListener("click", () =>
    editShapes(name, made.image, (shapes) => { made.shapes = shapes; drawShapes(made); }));
  watcher.observe(article);
  option($("source"), name);
  events.lane(name);
  $("empty").hidden = true;
  return made;
}

async function showShapes(made, name) {
  made.shapes = [];
  made.shapes = await loadShapes(name).then(unpack, () => []); // the editor says why there are none
  drawShapes(made);
}

function drawShapes(made) {
  made.ratio = made.image.naturalWidth / made.image.naturalHeight || 16 / 9;
  overlay(made.article.querySelector(".view"), made.shapes, made.ratio);
}

// What goes on at a source.
function showGoing() {
  const going = events.going();
  for (const [name, made] of tiles) made.article.querySelector(".going").textContent = going.get(name) ?? "";
}

// One picture at a time; those that came meanwhile are skipped but the last. One that cannot be had leaves the last.
async function follow(made) {
  if (made.busy) return;
  made.busy = true;
  while (made.visible && made.next !== null) {
    const { id, text } = made.next;
    made.next = null;
    let problem = "";
    try {
      const image = await picture(framePath(id), text);
      made.image.replaceWith(image);
      made.image = image;
      made.article.querySelector(".edit").hidden = !told.configure;
      if (made.shapes?.length && image.naturalWidth / image.naturalHeight !== made.ratio) drawShapes(made);
    } catch {
      const left = made.image.src ? "an earlier one is shown" : "there is none to show yet";
      problem = `${clock()}: the latest picture could not be loaded, ${left}`;
    }
    made.article.querySelector(".problem").textContent = problem;
    await pause(PICTURE_PAUSE);
  }
  made.busy = false;
}

function showSource(status) {
  const made = tile(status.name);
  made.seenAt = Date.now() - 1000 * status.silent_seconds;
  const fields = {
    fps: status.fps.toFixed(1),
    latency: `${status.latency_seconds.toFixed(2)} s`,
    lag: status.lag_seconds === null ? "?" : `${status.lag_seconds.toFixed(1)} s`,
    frames: status.skipped ? `${status.frames}, ${status.skipped} skipped` : status.frames,
  };
  for (const [name, value] of Object.entries(fields)) made.article.querySelector(`[data-field=${name}]`).textContent = value;
  const shared = `${status.senders} producers send under this name: give each a --source-id of its own`;
  made.article.querySelector(".shared").textContent = status.senders > 1 ? shared : "";
  for (const name of Object.keys(status.classes)) know(name);
  return made;
}

function showResult(status, result) {
  for (const item of result.summary) know(item.class);
  const made = showSource(status);
  count(result);
  if (!wanted(result)) return;
  made.article.querySelector(".seen").textContent = words(result);
  made.article.querySelector(".counts").textContent = tallies(result);
  if (result.stored) {
    made.next = { id: result.frame_id, text: `${result.source}: ${words(result) || "nothing"}` };
    follow(made);
  } else if (!made.image.src) made.article.querySelector(".problem").textContent = "its settings have none of its frames stored";
  if (result.detections_count) {
    coming.push(result);
    if (coming.length > PAGE) coming.shift();
    oldest = oldest ?? result.frame_id;
  }
}

function flush() {
  if (!coming.length) return;
  $("history").prepend(...coming.splice(0).reverse().map(row));
  while ($("history").rows.length > MAX_ROWS) $("history").lastElementChild.remove();
}

function row(result) {
  const line = document.createElement("tr"), seen = words(result);
  // What the filters need, not the whole list.
  line.result = { source: result.source, summary: [...new Set(result.summary.map((item) => item.class))].map((name) => ({ class: name })) };
  for (const text of [result.captured_at.slice(11, 23), result.source, seen]) {
    line.insertCell().textContent = text;
  }
  const cell = line.insertCell(), id = result.frame_id;
  if (result.stored) {
    const button = make("button", { type: "button", text: "show", ariaLabel: `show frame ${id}` });
    button.addEventListener("click", () => show(id, seen || "nothing"));
    cell.append(button);
  }
  return line;
}

// A frame of the past, large.
async function show(id, seen) {
  const frame = $("frame"), text = `${id}: ${seen}`;
  frame.dataset.frame = id;
  frame.querySelector("p").textContent = text;
  frame.querySelector("img").hidden = true;
  if (!frame.open) frame.showModal();
  const image = await picture(framePath(id), text).catch(() => null);
  if (frame.dataset.frame !== id) return; // another one was asked for meanwhile
  if (image) frame.querySelector("img").replaceWith(image);
  else frame.querySelector("p").textContent = `${text}. Its picture could not be loaded.`;
}

// Results from before `oldest`; null if the server does not give them.
async function earlier() {
  const query = new URLSearchParams({ limit: PAGE });
  if ($("source").value) query.set("source", $("source").value);
  if ($("class").value) query.set("class", $("class").value);
  if (oldest) query.set("before", oldest);
  const answer = await ask(`/api/detections?${query}`).catch(() => null); // the connection says that it is lost
  return answer && answer.detections;
}

function append(detections) {
  for (const result of detections) {
    oldest = result.frame_id;
    if (result.detections_count) $("history").append(row(result));
  }
  $("older").disabled = detections.length < PAGE;
}

async function older() {
  const found = await earlier();
  if (found) append(found);
}

async function filter() {
  for (const [name, made] of tiles) made.article.hidden = Boolean($("source").value) && name !== $("source").value;
  drawChart();
  oldest = null;
  const found = await earlier();
  if (found) {
    coming.length = 0;
    $("history").replaceChildren();
    append(found);
  } else {
    for (const line of $("history").rows) line.hidden = !wanted(line.result);
  }
}

function silence() {
  for (const made of tiles.values()) {
    const seconds = Math.max(0, (Date.now() - made.seenAt) / 1000);
    made.article.querySelector("[data-field=silent]").textContent = `${seconds.toFixed(0)} s`;
  }
}

function connection(state, text) {
  $("connection").dataset.state = state;
  $("connection").textContent = text;
}

const handlers = {
  sources: ({ sources, shapes, configure }) => {
    told = { shapes, configure };
    for (const status of sources) {
      const made = showSource(status);
      if (status.latest_picture_id) made.next = { id: status.latest_picture_id, text: status.name };
      made.shapes = null;
      if (made.visible && shapes) showShapes(made, status.name);
      follow(made);
    }
    filter();
    events.load();
  },
  result: ({ source, result }) => showResult(source, result),
  source: ({ source }) => showSource(source), // frames that have no result
  event: ({ event }) => events.take(event),
  queues: ({ queues }) => {
    $("quarantine").hidden = queues.quarantine === undefined;
    $("quarantine").querySelector("strong").textContent = queues.quarantine;
  },
  end: () => connection("ended", `the server ended at ${clock()}`),
};

function connect() {
  stream = new EventSource("/events");
  stream.addEventListener("open", () => connection("open", "connected"));
  stream.addEventListener("error", lost);
  stream.addEventListener("message", ({ data }) => { const told = JSON.parse(data); handlers[told.type]?.(told); });
}

// The pictures stay. The browser tries again by itself, until an answer is none that it takes.
async function lost() {
  const { state } = $("connection").dataset;
  if (state !== "lost" && state !== "ended") connection("lost", `connection lost at ${clock()}, trying again`);
  if (stream.readyState !== EventSource.CLOSED) return;
  const status = await fetch("/api/sources").then((answer) => answer.status, () => 0);
  if (status === 401) connection("lost", "the server asks for another token: open the address that it printed");
  setTimeout(connect, RETRY_PAUSE);
}

connect();
events.start(know);
for (const id of ["source", "class"]) $(id).addEventListener("change", () => { filter(); events.filter(); });
$("older").addEventListener("click", older);
setInterval(() => { silence(); drawChart(); events.tick(); showGoing(); }, 1000);
setInterval(flush, 250);
