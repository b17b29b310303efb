// A headless Chromium that keeps account of what a page asks for and says.

import { chromium } from "playwright-core";

// Where Debian has it.
const EXECUTABLE = process.env.CHROMIUM ?? "/usr/bin/chromium";

export function launch() {
  // The tests may run as root, for whom Chromium's own sandbox does not start.
  return chromium.launch({ executablePath: EXECUTABLE, args: ["--no-sandbox", "--disable-gpu"] });
}

/** A page at `url`, in a context of its own. What goes wrong in it is kept. */
export async function open(browser, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 1000 }, timezoneId: "UTC", locale: "en", ...options });
  const page = await context.newPage();
  const account = { requests: [], errors: [], responses: [] };
  page.on("request", (request) => account.requests.push(request));
  page.on("response", (response) => account.responses.push(response));
  page.on("pageerror", (error) => account.errors.push(String(error)));
  page.on("console", (message) => {
    // A stream that breaks off, and a token that is asked for, are said there too.
    const expected = /Failed to load resource|net::ERR_/.test(message.text());
    if (message.type() === "error" && !expected) account.errors.push(message.text());
  });
  await page.goto(url);
  return { page, account, context };
}

/** The origins of all that was asked for; a `data:` document is nobody's. */
export function origins(account) {
  const asked = account.requests.map((request) => request.url()).filter((url) => !url.startsWith("data:"));
  return [...new Set(asked.map((url) => new URL(url).origin))];
}

/** Press Tab until this element has the focus, as who has no mouse does. */
export async function tabTo(page, selector, most = 80) {
  for (let presses = 0; presses < most; presses += 1) {
    await page.keyboard.press("Tab");
    if (await page.evaluate((wanted) => document.activeElement?.matches(wanted), selector)) return;
  }
  throw new Error(`${selector} is not reached by Tab`);
}
