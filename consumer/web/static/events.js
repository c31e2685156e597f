// Events: those of the timeline's window and filters, their list, and which ones nobody has seen yet.

import { $, ask, clock, day, make, option } from "./dom.js";
import { createTimeline } from "./timeline.js";
import { showEvent } from "./event.js";

const MAX_EVENTS = 2000, MAX_ROWS = 200, MAX_SEEN = 2000, MAX_SOURCES = 256, MAX_ZONES = 256;
const RENDER_PAUSE = 100; // milliseconds in which events that come are shown together
const SEEN = "cv2kinesis-seen"; // of localStorage: {before, paths}
const found = new Map(), sources = new Set();
const window_ = { hours: 1, until: null }; // until: null for one that ends now
let asked = 0, more = false, seen = remembered(), due = null;

const timeline = createTimeline($("timeline"), open);
const end = () => window_.until ?? new Date();
const begin = () => new Date(end() - window_.hours * 3600e3);
const matches = (event) =>
  (!$("source").value || event.source === $("source").value) &&
  (!$("class").value || event.classes.includes($("class").value)) &&
  (!$("kind").value || event.event === $("kind").value) &&
  (!$("zone").value || [event.zone, event.line].includes($("zone").value));
const shown = () => [...found.values()]
  .filter((event) => matches(event) && new Date(event.started_at) >= begin() && new Date(event.started_at) < end())
  .sort((one, other) => (one.started_at < other.started_at ? 1 : -1));

export const isUnseen = (event) => event.started_at > seen.before && !seen.paths.includes(event.path);

export function what(event) {
  const words = [event.event, event.zone ?? event.line, event.direction].filter(Boolean).join(" ");
  return event.classes.length ? `${words}: ${event.classes.join(", ")}` : words;
}

export function lasted(event) {
  const seconds = ((event.ended_at ? new Date(event.ended_at) : new Date()) - new Date(event.started_at)) / 1000;
  const text = seconds < 100 ? `${Math.max(0, seconds).toFixed(seconds < 10 ? 1 : 0)} s` : `${(seconds / 60).toFixed(0)} min`;
  return event.ended_at ? text : `goes on, ${text}`;
}

// By source, the rules of events that go on.
export function going() {
  const rules = new Map();
  for (const event of found.values()) {
    if (!event.ended_at) rules.set(event.source, [...(rules.get(event.source) ?? []), event.rule]);
  }
  return new Map([...rules].map(([name, all]) => [name, `now: ${[...new Set(all)].sort().join(", ")}`]));
}

// A source has a lane even before anything happens there.
export function lane(name) {
  if (sources.size < MAX_SOURCES) sources.add(name);
}

// An event that starts or ends.
export function take(event) {
  keep(event);
  due ??= setTimeout(render, RENDER_PAUSE);
}

function keep(event) {
  found.set(event.path, event);
  lane(event.source);
  if (sources.has(event.source)) option($("source"), event.source);
  for (const name of [event.zone, event.line]) if (name && $("zone").options.length < MAX_ZONES) option($("zone"), name);
  event.classes.forEach(knowClass);
  if (found.size > MAX_EVENTS) {
    found.delete([...found.values()].reduce((one, other) => (one.started_at < other.started_at ? one : other)).path);
  }
}

let knowClass = () => {};

export async function load() {
  const turn = ++asked, query = new URLSearchParams({ limit: MAX_EVENTS, since: begin().toISOString() });
  if (window_.until) query.set("until", window_.until.toISOString());
  for (const id of ["source", "class", "kind", "zone"]) if ($(id).value) query.set(id, $(id).value);
  $("events-problem").textContent = "";
  try {
    const answer = await ask(`/api/events?${query}`);
    if (turn !== asked) return; // another window was asked for meanwhile
    found.clear();
    more = answer.more;
    answer.events.forEach(keep);
    $("events-problem").textContent = answer.problem && `Events cannot be read: ${answer.problem}`;
  } catch (error) {
    $("events-problem").textContent = `Events could not be loaded: ${error.message}`;
  }
  render();
}

export function filter() {
  render();
  load();
}

// Bars of events that go on grow; a window that ends now moves on.
export function tick() {
  timeline.move(begin(), end());
}

function render() {
  clearTimeout(due);
  due = null;
  const events = shown();
  const wanted = [...sources].filter((name) => !$("source").value || name === $("source").value).sort();
  timeline.draw(wanted, events.map((event) => ({
    event, unseen: isUnseen(event), text: `${event.source}, ${event.rule}: ${what(event)}, ${clock(new Date(event.started_at))}`,
  })), begin(), end());
  const focused = document.activeElement?.closest?.("#events button")?.dataset.path;
  $("events").replaceChildren(...events.slice(0, MAX_ROWS).map(row));
  if (focused) [...$("events").querySelectorAll("button")].find((button) => button.dataset.path === focused)?.focus();
  $("events-empty").hidden = events.length > 0;
  const left = [events.length > MAX_ROWS && `the latest ${MAX_ROWS} of ${events.length} are listed`,
    more && `there are more than ${MAX_EVENTS} in this time`].filter(Boolean).join("; ");
  $("events-more").textContent = left;
  const number = events.filter(isUnseen).length;
  $("unseen").textContent = number ? `${number} not seen yet` : "all seen";
  $("see-all").disabled = !number;
  document.title = (number ? `(${number}) ` : "") + "cv2kinesis: live";
  $("window").textContent = `${day(begin())} ${clock(begin())} to ${window_.until ? `${day(end())} ${clock(end())}` : "now"}`;
  $("later").disabled = $("now").disabled = !window_.until;
}

function row(event) {
  const line = document.createElement("tr"), started = new Date(event.started_at);
  if (isUnseen(event)) line.className = "unseen";
  for (const text of [`${day(started)} ${clock(started)}`, event.source, event.rule, what(event), lasted(event)]) {
    line.insertCell().textContent = text;
  }
  const button = make("button", { type: "button", text: "show", ariaLabel: `show event ${event.rule} at ${event.source}, ${clock(started)}` });
  button.dataset.path = event.path;
  button.addEventListener("click", () => open(event));
  line.insertCell().append(button);
  return line;
}

function open(event) {
  see(event);
  showEvent(event, `${event.source}: ${event.rule}, ${what(event)}, ${lasted(event)}`);
}

function see(event) {
  if (!isUnseen(event)) return;
  seen.paths = [...seen.paths, event.path].slice(-MAX_SEEN);
  remember();
  render();
}

// What happened before somebody's first visit is nothing that they have missed.
function remembered() {
  try {
    const { before, paths } = JSON.parse(localStorage.getItem(SEEN));
    if (typeof before === "string" && Array.isArray(paths)) return { before, paths };
  } catch { /* there is none yet, or the browser keeps none */ }
  return { before: new Date().toISOString(), paths: [] };
}

function remember() {
  try {
    localStorage.setItem(SEEN, JSON.stringify(seen));
  } catch { /* the browser keeps none: marks last for as long as the page */ }
}

function look(hours, until) {
  window_.hours = hours;
  window_.until = until && until < new Date() ? until : null;
  for (const button of $("zoom").querySelectorAll("button")) button.ariaPressed = String(Number(button.dataset.hours) === hours);
  load();
}

export function start(know) {
  knowClass = know;
  remember();
  for (const button of $("zoom").querySelectorAll("button")) {
    button.addEventListener("click", () => look(Number(button.dataset.hours), window_.until));
  }
  const step = (direction) => look(window_.hours, new Date(+end() + direction * window_.hours * 3600e3));
  $("earlier").addEventListener("click", () => step(-1));
  $("later").addEventListener("click", () => step(1));
  $("now").addEventListener("click", () => { $("until").value = ""; look(window_.hours, null); });
  $("until").addEventListener("change", () => look(window_.hours, $("until").value ? new Date($("until").value) : null));
  for (const id of ["kind", "zone"]) $(id).addEventListener("change", filter);
  $("see-all").addEventListener("click", () => {
    seen = { before: new Date().toISOString(), paths: [] };
    remember();
    render();
  });
}
