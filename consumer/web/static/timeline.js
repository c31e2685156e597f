// A lane for each source, a bar for each event. Arrow keys go from bar to bar; one bar at a time is a tab stop.

import { clock, make } from "./dom.js";

const ROWS = 4; // bars that lie one under another in a lane
const TICKS = 6;

export function createTimeline(element, open) {
  const axis = make("div", { className: "axis" }), lanes = make("div", { className: "lanes" });
  element.append(axis, lanes);
  let bars = [], from = 0, to = 1;

  function draw(sources, events, begin, end) {
    const focused = document.activeElement?.closest?.(".bar")?.dataset.path;
    [from, to] = [+begin, +end];
    bars = [];
    lanes.replaceChildren(...sources.map((name) => lane(name, events.filter(({ event }) => event.source === name))));
    place();
    const current = bars.find(({ button }) => button.dataset.path === focused);
    (current ?? bars[0])?.button.setAttribute("tabindex", "0");
    current?.button.focus();
  }

  function lane(name, events) {
    const track = make("div", { className: "track" }), ends = [];
    for (const { event, unseen, text } of [...events].reverse()) {
      const start = +new Date(event.started_at);
      let row = ends.findIndex((end) => end <= start);
      if (row < 0) row = Math.min(ends.length, ROWS - 1);
      ends[row] = event.ended_at ? +new Date(event.ended_at) : Infinity;
      const button = make("button", { type: "button", className: `bar ${event.event}`, title: text, ariaLabel: text, tabIndex: -1 });
      button.dataset.path = event.path;
      button.dataset.row = row;
      button.classList.toggle("unseen", unseen);
      button.classList.toggle("growing", !event.ended_at);
      button.addEventListener("click", () => open(event));
      bars.push({ button, event });
      track.append(button);
    }
    track.dataset.rows = Math.max(1, ends.length);
    const element = make("div", { className: "lane" }, make("span", { className: "name", text: name, title: name }), track);
    element.dataset.source = name;
    return element;
  }

  function place() {
    const share = (time) => 100 * Math.min(1, Math.max(0, (time - from) / (to - from)));
    for (const { button, event } of bars) {
      const left = share(+new Date(event.started_at));
      button.style.left = `${left}%`;
      button.style.width = `${share(event.ended_at ? +new Date(event.ended_at) : Date.now()) - left}%`;
    }
    const long = to - from > 48 * 3600e3;
    axis.replaceChildren(...Array.from({ length: TICKS }, (_, number) => {
      const at = new Date(from + (to - from) * number / TICKS);
      const tick = make("span", { text: long ? at.toLocaleDateString([], { day: "numeric", month: "short" }) : clock(at).slice(0, 5) });
      tick.style.left = `${100 * number / TICKS}%`;
      return tick;
    }));
  }

  function move(begin, end) {
    [from, to] = [+begin, +end];
    place();
  }

  // Left and right: the bar before and after in this lane; up and down: the nearest one of the next lane that has any.
  function next(bar, key) {
    const rows = [...lanes.children].map((element) => [...element.querySelectorAll(".bar")]).filter((row) => row.length);
    const row = rows.findIndex((all) => all.includes(bar)), place = rows[row].indexOf(bar);
    if (key === "ArrowLeft") return rows[row][place - 1];
    if (key === "ArrowRight") return rows[row][place + 1];
    const other = rows[row + (key === "ArrowDown" ? 1 : -1)], at = bar.offsetLeft;
    return other?.reduce((one, another) => (Math.abs(another.offsetLeft - at) < Math.abs(one.offsetLeft - at) ? another : one));
  }

  lanes.addEventListener("keydown", (press) => {
    const bar = press.target.closest(".bar");
    if (!bar || !press.key.startsWith("Arrow")) return;
    press.preventDefault();
    const other = next(bar, press.key);
    if (!other) return;
    bar.setAttribute("tabindex", "-1");
    other.setAttribute("tabindex", "0");
    other.focus();
  });

  return { draw, move };
}
