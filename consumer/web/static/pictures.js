// Pictures, a few at a time: a browser has six connections to a server; the rest are for events and questions.

const AT_ONCE = 3;
const turns = []; // those that wait until another one is loaded
let loading = 0;

// A picture once it can be shown. It then replaces another one, so the page never shows a broken picture.
export async function picture(path, text) {
  const image = new Image();
  image.alt = text;
  if (loading === AT_ONCE) await new Promise((turn) => turns.push(turn));
  else loading += 1;
  try {
    image.src = path;
    await image.decode();
  } finally {
    const next = turns.shift();
    if (next) next();
    else loading -= 1;
  }
  return image;
}
