// The live page: events in, tiles, chart and history out. Everything that comes is text, never markup.

const SECONDS = 300, BUCKET = 5, PAGE = 25, MAX_ROWS = 500;
const MAX_CLASSES = 200; // a hostile message may name any number of new ones
const PICTURE_PAUSE = 250; // milliseconds between two pictures of a tile
const PICTURES_AT_ONCE = 3; // a browser has six connections to a server; the rest are for events and questions
const RETRY_PAUSE = 5000; // milliseconds until a connection that the browser has given up is tried again
const $ = (id) => document.getElementById(id);
// counts: {at, bySource}, one for each BUCKET; a source has numbers by class. Results themselves would take too much.
const tiles = new Map(), classes = new Map(), counts = [];
const turns = []; // pictures that wait until another one is loaded
let oldest = null, loading = 0;

const framePath = (id) => "/frames/" + id.split("/").map(encodeURIComponent).join("/");
const clock = () => new Date().toLocaleTimeString([], { hour12: false });
const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
const colour = (name) => `hsl(${classes.get(name) * 137.5 % 360} 65% 50%)`;
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

function option(select, value) {
  const element = document.createElement("option");
  element.value = element.textContent = value;
  const after = [...select.options].slice(1).find((other) => other.value > value);
  select.insertBefore(element, after ?? null);
}

function tile(name) {
  if (tiles.has(name)) return tiles.get(name);
  const article = $("tile").content.firstElementChild.cloneNode(true);
  article.querySelector("h3").textContent = name;
  article.dataset.source = name;
  const after = [...$("tiles").children].find((other) => other.dataset.source > name);
  $("tiles").insertBefore(article, after ?? null);
  const made = { article, image: article.querySelector("img"), busy: false, next: null, seenAt: 0 };
  tiles.set(name, made);
  option($("source"), name);
  $("empty").hidden = true;
  return made;
}

// A frame's picture once it can be shown. It then replaces another one, so the page never shows a broken picture.
async function picture(id, text) {
  const image = new Image();
  image.alt = text;
  if (loading === PICTURES_AT_ONCE) await new Promise((turn) => turns.push(turn));
  else loading += 1;
  try {
    image.src = framePath(id);
    await image.decode();
  } finally {
    const next = turns.shift();
    if (next) next();
    else loading -= 1;
  }
  return image;
}

// One picture at a time; those that came meanwhile are skipped but the last. One that cannot be had leaves the last.
async function follow(made) {
  if (made.busy) return;
  made.busy = true;
  while (made.next !== null) {
    const { id, text } = made.next;
    made.next = null;
    let problem = "";
    try {
      const image = await picture(id, text);
      made.image.replaceWith(image);
      made.image = image;
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
    frames: status.frames,
  };
  for (const [name, value] of Object.entries(fields)) made.article.querySelector(`[data-field=${name}]`).textContent = value;
  const shared = `${status.senders} producers send under this name: give each a --source-id of its own`;
  made.article.querySelector(".shared").textContent = status.senders > 1 ? shared : "";
  for (const name of Object.keys(status.classes)) know(name);
  return made;
}

function know(name) {
  if (classes.has(name) || classes.size >= MAX_CLASSES) return;
  classes.set(name, classes.size);
  option($("class"), name);
  const entry = document.createElement("li");
  const mark = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
  mark.setAttribute("viewBox", "0 0 2 2");
  for (const key of ["cx", "cy", "r"]) dot.setAttribute(key, "1");
  dot.setAttribute("fill", colour(name));
  mark.append(dot);
  entry.append(mark, name);
  $("legend").append(entry);
}

function showResult(status, result) {
  for (const item of result.summary) know(item.class);
  const made = showSource(status);
  count(result);
  if (!wanted(result)) return;
  made.article.querySelector(".seen").textContent = words(result);
  made.article.querySelector(".counts").textContent = tallies(result);
  made.next = { id: result.frame_id, text: `${result.source}: ${words(result) || "nothing"}` };
  follow(made);
  if (result.detections_count) {
    $("history").prepend(row(result));
    while ($("history").rows.length > MAX_ROWS) $("history").lastElementChild.remove();
    oldest = oldest ?? result.frame_id;
  }
}

function row(result) {
  const line = document.createElement("tr"), seen = words(result);
  // What the filters need, not the whole list.
  line.result = { source: result.source, summary: [...new Set(result.summary.map((item) => item.class))].map((name) => ({ class: name })) };
  for (const text of [result.captured_at.slice(11, 23), result.source, seen]) {
    line.insertCell().textContent = text;
  }
  const id = result.frame_id;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "show";
  button.setAttribute("aria-label", `show frame ${id}`);
  button.addEventListener("click", () => show(id, seen || "nothing"));
  line.insertCell().append(button);
  return line;
}

// A frame of the past, large.
async function show(id, seen) {
  const frame = $("frame"), text = `${id}: ${seen}`;
  frame.dataset.frame = id;
  frame.querySelector("p").textContent = text;
  frame.querySelector("img").hidden = true;
  if (!frame.open) frame.showModal();
  const image = await picture(id, text).catch(() => null);
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
  const answer = await fetch(`/api/detections?${query}`).catch(() => null); // the connection says that it is lost
  return answer?.ok ? (await answer.json()).detections : null;
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
  draw();
  oldest = null;
  const found = await earlier();
  if (found) {
    $("history").replaceChildren();
    append(found);
  } else {
    for (const line of $("history").rows) line.hidden = !wanted(line.result);
  }
}

function count(result) {
  const at = Math.floor(Date.now() / 1000 / BUCKET);
  if (counts.at(-1)?.at !== at) counts.push({ at, bySource: new Map() });
  const { bySource } = counts.at(-1);
  if (!bySource.has(result.source)) bySource.set(result.source, new Map());
  const byClass = bySource.get(result.source);
  for (const item of result.summary) {
    if (classes.has(item.class)) byClass.set(item.class, (byClass.get(item.class) ?? 0) + 1);
  }
  while (counts[0].at < at - SECONDS / BUCKET) counts.shift();
}

function draw() {
  const now = Math.floor(Date.now() / 1000 / BUCKET), places = SECONDS / BUCKET;
  const lines = new Map([...classes.keys()].map((name) => [name, new Array(places + 1).fill(0)]));
  for (const { at, bySource } of counts) {
    if (at <= now - places - 1) continue;
    for (const [source, byClass] of bySource) {
      if ($("source").value && source !== $("source").value) continue;
      for (const [name, number] of byClass) lines.get(name)[at - now + places] += number;
    }
  }
  const most = Math.max(1, ...[...lines.values()].flat());
  $("chart").replaceChildren(...[...lines].filter(([name]) => !$("class").value || name === $("class").value).map(([name, values]) => {
    const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    line.setAttribute("points", values.map((value, place) => `${600 * place / places},${118 - 114 * value / most}`).join(" "));
    line.setAttribute("stroke", colour(name));
    return line;
  }));
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
  sources: ({ sources }) => {
    for (const status of sources) {
      const made = showSource(status);
      made.next = { id: status.latest_frame_id, text: status.name };
      follow(made);
    }
    filter();
  },
  result: ({ source, result }) => showResult(source, result),
  queues: ({ queues }) => {
    $("quarantine").hidden = queues.quarantine === undefined;
    $("quarantine").querySelector("strong").textContent = queues.quarantine;
  },
  end: () => connection("ended", `the server ended at ${clock()}`),
};

function connect() {
  events = new EventSource("/events");
  events.addEventListener("open", () => connection("open", "connected"));
  events.addEventListener("error", lost);
  events.addEventListener("message", ({ data }) => { const event = JSON.parse(data); handlers[event.type]?.(event); });
}

// The pictures stay. The browser tries again by itself, until an answer is none that it takes.
async function lost() {
  const { state } = $("connection").dataset;
  if (state !== "lost" && state !== "ended") connection("lost", `connection lost at ${clock()}, trying again`);
  if (events.readyState !== EventSource.CLOSED) return;
  const status = await fetch("/api/sources").then((answer) => answer.status, () => 0);
  if (status === 401) connection("lost", "the server asks for another token: open the address that it printed");
  setTimeout(connect, RETRY_PAUSE);
}

let events;
connect();
$("source").addEventListener("change", filter);
$("class").addEventListener("change", filter);
$("older").addEventListener("click", older);
setInterval(() => { silence(); draw(); }, 1000);
