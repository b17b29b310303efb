// Waiting for a condition, with a limit. Nothing here waits for a fixed time.

const LIMIT = 30_000;
const LOOK = 20;

/** Resolves to what `look` returns once that is true; fails after the limit. */
export async function until(what, look, limit = LIMIT) {
  const end = Date.now() + limit;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited ${limit} ms in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK));
  }
}
