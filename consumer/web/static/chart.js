// Detections by class over the last minutes.

import { $, option, svg, make } from "./dom.js";

const SECONDS = 300, BUCKET = 5;
const MAX_CLASSES = 200; // a hostile message may name any number of new ones
// counts: {at, bySource}, one for each BUCKET; a source has numbers by class. Results themselves would take too much.
const classes = new Map(), counts = [];

const colour = (name) => `hsl(${classes.get(name) * 137.5 % 360} 65% 50%)`;

export function know(name) {
  if (classes.has(name) || classes.size >= MAX_CLASSES) return;
  classes.set(name, classes.size);
  option($("class"), name);
  const dot = svg("circle", { cx: 1, cy: 1, r: 1, fill: colour(name) });
  $("legend").append(make("li", {}, svg("svg", { viewBox: "0 0 2 2" }, dot), name));
}

export function count(result) {
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

export function drawChart() {
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
  $("chart").replaceChildren(...[...lines].filter(([name]) => !$("class").value || name === $("class").value).map(([name, values]) =>
    svg("polyline", {
      points: values.map((value, place) => `${600 * place / places},${118 - 114 * value / most}`).join(" "),
      stroke: colour(name),
    })));
}
