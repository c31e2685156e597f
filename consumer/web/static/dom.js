// What all modules need of the document. Everything that comes from elsewhere becomes text, never markup.

export const $ = (id) => document.getElementById(id);
export const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
export const clock = (date = new Date()) => date.toLocaleTimeString([], { hour12: false });
export const day = (date) => date.toLocaleDateString([], { weekday: "short", day: "numeric", month: "short" });

export function make(name, { text, ...properties } = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  if (text !== undefined) element.textContent = text;
  element.append(...children);
  return element;
}

export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// Puts an option in its place by name, once.
export function option(select, value) {
  if ([...select.options].some((other) => other.value === value)) return;
  const after = [...select.options].slice(1).find((other) => other.value > value);
  select.insertBefore(make("option", { value, text: value }), after ?? null);
}

// An answer's JSON, or an error whose message can be shown.
export async function ask(path, options) {
  const answer = await fetch(path, options).catch(() => { throw new Error("the server does not answer"); });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.error ?? `the server answers with status ${answer.status}`);
  return body;
}
