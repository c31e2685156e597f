// The live page: events in, tiles, chart and history out. Everything that comes is text, never markup.

const SECONDS = 300, BUCKET = 5, PAGE = 25, MAX_ROWS = 500;
const MAX_CLASSES = 200; // a hostile message may name any number of new ones
const PICTURE_PAUSE = 250; // milliseconds between two pictures of a tile
const $ = (id) => document.getElementById(id);
const tiles = new Map(), classes = new Map(), counts = []; // counts: {at, byClass}, one for each BUCKET
let oldest = null;

const framePath = (id) => "/frames/" + id.split("/").map(encodeURIComponent).join("/");
const colour = (name) => `hsl(${classes.get(name) * 137.5 % 360} 65% 50%)`;
const wanted = (result) =>
  (!$("source").value || result.source === $("source").value) &&
  (!$("class").value || result.summary.some((item) => item.class === $("class").value));

function words(result) {
  const number = new Map();
  for (const item of result.summary) number.set(item.class, (number.get(item.class) ?? 0) + 1);
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
  made.image.addEventListener("load", () => setTimeout(() => follow(made), PICTURE_PAUSE));
  made.image.addEventListener("error", () => setTimeout(() => follow(made), PICTURE_PAUSE));
  tiles.set(name, made);
  option($("source"), name);
  $("empty").hidden = true;
  return made;
}

// One picture at a time; those that came meanwhile are skipped but the last.
function follow(made) {
  made.busy = made.next !== null;
  if (!made.busy) return;
  const { id, text } = made.next;
  made.next = null;
  made.image.alt = text;
  made.image.src = framePath(id);
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
  if (!made.busy) follow(made);
  if (result.summary.length) {
    $("history").prepend(row(result));
    while ($("history").rows.length > MAX_ROWS) $("history").lastElementChild.remove();
    oldest = oldest ?? result.frame_id;
  }
}

function row(result) {
  const line = document.createElement("tr");
  for (const text of [result.captured_at.slice(11, 23), result.source, words(result)]) {
    line.insertCell().textContent = text;
  }
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "show";
  button.setAttribute("aria-label", `show frame ${result.frame_id}`);
  button.addEventListener("click", () => {
    $("frame").querySelector("p").textContent = `${result.frame_id}: ${words(result) || "nothing"}`;
    $("frame").querySelector("img").src = framePath(result.frame_id);
    $("frame").showModal();
  });
  line.insertCell().append(button);
  return line;
}

async function older() {
  const query = new URLSearchParams({ limit: PAGE });
  if ($("source").value) query.set("source", $("source").value);
  if ($("class").value) query.set("class", $("class").value);
  if (oldest) query.set("before", oldest);
  const answer = await fetch(`/api/detections?${query}`);
  if (!answer.ok) return;
  const { detections } = await answer.json();
  for (const result of detections) {
    oldest = result.frame_id;
    if (result.summary.length) $("history").append(row(result));
  }
  $("older").disabled = detections.length < PAGE;
}

function filter() {
  for (const [name, made] of tiles) made.article.hidden = Boolean($("source").value) && name !== $("source").value;
  $("history").replaceChildren();
  oldest = null;
  older();
  draw();
}

function count(result) {
  const at = Math.floor(Date.now() / 1000 / BUCKET);
  if (counts.at(-1)?.at !== at) counts.push({ at, all: [] });
  counts.at(-1).all.push(result);
  while (counts[0].at < at - SECONDS / BUCKET) counts.shift();
}

function draw() {
  const now = Math.floor(Date.now() / 1000 / BUCKET), places = SECONDS / BUCKET;
  const lines = new Map([...classes.keys()].map((name) => [name, new Array(places + 1).fill(0)]));
  for (const { at, all } of counts) {
    for (const result of all.filter(wanted)) {
      for (const item of result.summary) {
        if (at > now - places - 1 && lines.has(item.class)) lines.get(item.class)[at - now + places] += 1;
      }
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
      if (!made.busy) follow(made);
    }
    filter();
  },
  result: ({ source, result }) => showResult(source, result),
  queues: ({ queues }) => {
    $("quarantine").hidden = queues.quarantine === undefined;
    $("quarantine").querySelector("strong").textContent = queues.quarantine;
  },
};

const events = new EventSource("/events");
events.addEventListener("open", () => connection("open", "connected"));
events.addEventListener("error", () => connection("lost", "connection lost, trying again"));
events.addEventListener("message", ({ data }) => { const event = JSON.parse(data); handlers[event.type]?.(event); });
$("source").addEventListener("change", filter);
$("class").addEventListener("change", filter);
$("older").addEventListener("click", older);
setInterval(() => { silence(); draw(); }, 1000);
