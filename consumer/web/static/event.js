// One event, large: its best picture, the frames around it to step through or play, and its film.

import { $, ask, clock } from "./dom.js";
import { picture } from "./pictures.js";

const dialog = $("event"), part = (name) => dialog.querySelector(`[data-part=${name}]`);
const LONGEST_PAUSE = 1000; // milliseconds between two frames while they play
let shown = null; // {path, times, query}
let playing = 0;

const address = (path) => path.split("/").map(encodeURIComponent).join("/");
const query = () => new URLSearchParams({ before: 5, after: 5, boxes: part("boxes").checked ? 1 : 0 });

export async function showEvent(event, text) {
  playing += 1;
  shown = { path: event.path, times: [] };
  part("title").textContent = text;
  part("problem").textContent = "";
  part("picture").replaceChildren();
  if (!dialog.open) dialog.showModal();
  const path = event.path, loaded = frames();
  if (event.has_picture) await put(`/event-pictures/${address(path)}`, text, () => shown.path === path && !playsNow());
  await loaded;
}

const playsNow = () => part("play").ariaPressed === "true";

// Loads a picture and shows it, if it is still wanted by then.
async function put(source, text, stillWanted) {
  try {
    const image = await picture(source, text);
    if (stillWanted()) part("picture").replaceChildren(image);
  } catch {
    if (stillWanted()) part("problem").textContent = "The picture could not be loaded.";
  }
}

async function frames() {
  const { path } = shown, asked = query();
  part("play").disabled = part("place").disabled = true;
  part("origin").textContent = "looking for the frames around it";
  part("film").hidden = true;
  pressed(false);
  try {
    const answer = await ask(`/api/events/${address(path)}/frames?${asked}`);
    if (shown.path !== path) return;
    shown.times = answer.frames.map((time) => new Date(time));
    const where = answer.from === "stream" ? "the stream" : "the bucket";
    part("origin").textContent = `${shown.times.length} frames around it, from ${where}`;
    part("film").href = `/api/events/${address(path)}/clip?${asked}`;
    part("film").hidden = false;
    part("place").max = shown.times.length - 1;
    part("place").value = 0;
    part("play").disabled = part("place").disabled = shown.times.length === 0;
  } catch (error) {
    if (shown.path === path) part("origin").textContent = `No frames around it: ${error.message}`;
  }
}

async function frame(number) {
  const { path, times } = shown;
  part("time").textContent = `${clock(times[number])}.${String(times[number].getMilliseconds()).padStart(3, "0")}`;
  await put(`/event-frames/${address(path)}/${number}?${query()}`, `frame at ${times[number].toISOString()}`,
    () => shown.path === path && Number(part("place").value) === number);
}

function pressed(on) {
  part("play").ariaPressed = String(on);
  part("play").textContent = on ? "Pause" : "Play";
}

// As fast as frames were captured, or as they can be loaded.
async function play() {
  const turn = ++playing, { times } = shown;
  pressed(true);
  if (Number(part("place").value) >= times.length - 1) part("place").value = 0;
  while (turn === playing) {
    const number = Number(part("place").value), began = Date.now();
    await frame(number);
    if (number + 1 >= times.length) break;
    const gap = Math.min(LONGEST_PAUSE, times[number + 1] - times[number]);
    await new Promise((done) => setTimeout(done, Math.max(0, gap - (Date.now() - began))));
    if (turn === playing) part("place").value = number + 1;
  }
  if (turn === playing) pressed(false);
}

function stop() {
  playing += 1;
  pressed(false);
}

part("play").addEventListener("click", () => (playsNow() ? stop() : play()));
part("place").addEventListener("input", () => { stop(); frame(Number(part("place").value)); });
part("boxes").addEventListener("change", () => { stop(); frames(); });
dialog.addEventListener("close", stop);
