// Zones and lines over a picture. Places are fractions of it; the drawing stretches with it.

import { ask, make, svg } from "./dom.js";

const SIZE = 1000; // of the drawing, across and down

export const shapesPath = (source) => `/api/sources/${encodeURIComponent(source)}`;

// As the page keeps them: {kind, name, points}.
export function unpack({ zones, lines }) {
  return [
    ...zones.map(({ name, polygon }) => ({ kind: "zone", name, points: polygon })),
    ...lines.map(({ name, start, end }) => ({ kind: "line", name, points: [start, end] })),
  ];
}

export function pack(shapes) {
  return {
    zones: shapes.filter(({ kind }) => kind === "zone").map(({ name, points }) => ({ name, polygon: points })),
    lines: shapes.filter(({ kind }) => kind === "line").map(({ name, points: [start, end] }) => ({ name, start, end })),
  };
}

export const loadShapes = async (source) => ask(`${shapesPath(source)}/shapes`);

const corners = (points) => points.map(([x, y]) => `${x * SIZE},${y * SIZE}`).join(" ");

// Where `in` is: from the middle of a line to its right, seen from start to end, as the picture is wide and high.
function arrow([[x1, y1], [x2, y2]], ratio) {
  const [across, down] = [(x2 - x1) * ratio, y2 - y1], length = Math.hypot(across, down) || 1, reach = 0.06;
  const [x, y] = [(x1 + x2) / 2, (y1 + y2) / 2];
  const tip = [x - down / length * reach / ratio, y + across / length * reach];
  return [[x, y], tip];
}

// The drawing of shapes, to be put over a picture that is `ratio` times as wide as high.
export function drawing(shapes, ratio) {
  const element = svg("svg", { viewBox: `0 0 ${SIZE} ${SIZE}`, preserveAspectRatio: "none", class: "shapes", "aria-hidden": "true" });
  for (const { kind, points } of shapes) {
    if (kind === "zone" && points.length > 2) element.append(svg("polygon", { points: corners(points) }));
    else element.append(svg("polyline", { points: corners(points), class: kind }));
    if (kind === "line" && points.length === 2) {
      element.append(svg("polyline", { points: corners(arrow(points, ratio)), class: "inward" }));
    }
  }
  return element;
}

export function labels(shapes) {
  return shapes.map(({ kind, name, points }) => {
    const label = make("span", { className: `label ${kind}`, text: name });
    const [x, y] = points.reduce((one, other) => (other[1] < one[1] ? other : one));
    label.style.left = `${100 * Math.min(0.85, x)}%`;
    label.style.top = `${100 * Math.min(0.9, y)}%`;
    return label;
  });
}

// Shows a source's shapes over the picture of its tile.
export function overlay(holder, shapes, ratio) {
  holder.querySelectorAll(".shapes, .label").forEach((old) => old.remove());
  if (shapes.length) holder.append(drawing(shapes, ratio), ...labels(shapes));
}
