// Opens the dashboard of a job with a dozen views in six tabs of one browser: each follows all views, while records arrive. Called by
// scripts/serve_suite/music.py, which adds records when this prints ADD. Argument: the address.
"use strict";
const { ask, main } = require("./chrome.cjs");

const [base] = process.argv.slice(2);
const TABS = 6;
// A browser gives one address six connections, and each tab holds one.
const PATIENCE = { timeout: 20_000, polling: 100 };

function check(holds, what) {
  if (!holds) throw new Error(what);
}

/** What the page says of a row, in the columns that it shows as they are. */
const shown = (columns, row) =>
  columns.map(({ name, type }) => (type === "integer" ? row[name]?.toLocaleString("en") : type === "text" ? row[name] : null) ?? "–").join("|");

/** The rows of the selected view, in the same way. */
const rows = (tab, columns) =>
  tab.evaluate((types) => [...document.querySelectorAll("#rows tbody tr")].map((row) =>
    [...row.cells].map((cell, at) => (["integer", "text"].includes(types[at]) ? cell.textContent : "–")).join("|")), columns.map(({ type }) => type));

main(async (browser) => {
  const context = await browser.newContext();
  const wrong = [];
  const tabs = await Promise.all(Array.from({ length: TABS }, async () => {
    const tab = await context.newPage();
    tab.on("pageerror", (error) => wrong.push(error.message));
    tab.on("console", (message) => message.type() === "error" && wrong.push(message.text()));
    await tab.goto(base);
    await tab.waitForFunction(() => document.body.dataset.ready === "true" && Number(document.body.dataset.seq) > 0, null, PATIENCE);
    return tab;
  }));
  const painted = await tabs[0].evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime);
  const seqs = () => Promise.all(tabs.map((tab) => tab.evaluate(() => Number(document.body.dataset.seq))));
  const before = await seqs();
  await ask("ADD");
  // With all six connections taken, only a request from outside of the tabs is answered at once.
  const api = await browser.newContext();
  const get = async (path) => (await api.request.get(`${base}${path}`)).json();
  const { seq, views } = await get("/v1/views");
  check(views.length >= 12, `there are ${views.length} views`);
  for (const tab of tabs) await tab.waitForFunction((seq) => Number(document.body.dataset.seq) >= seq, seq, PATIENCE);
  const after = await seqs();
  check(after.every((now, at) => now > before[at]), `a tab has not followed: ${before} before, ${after} after`);
  let compared = 0;
  for (const [at, { name }] of views.entries()) {
    const tab = tabs[at % TABS];
    await tab.bringToFront();
    await tab.click(`#tab-${name}`);
    await tab.waitForFunction((name) => document.getElementById(`tab-${name}`).getAttribute("aria-selected") === "true", name, PATIENCE);
    const answer = await get(`/v1/views/${name}?limit=200`);
    const { columns } = views[at];
    const there = await rows(tab, columns);
    // The page shows 200 rows at most, and goes on showing days that were sealed while it was open.
    const expected = there.length < 200 ? answer.rows : answer.rows.slice(0, 0);
    const missing = expected.map((row) => shown(columns, row)).filter((row) => !there.includes(row));
    check(there.length > 0 || !answer.rows.length, `a tab shows no row of ${name}`);
    check(!missing.length, `a tab lacks ${missing.length} of ${expected.length} rows of ${name}: ${missing[0]}; it has ${there[0]}`);
    compared += expected.length;
  }
  check(compared > 0, "no row was compared");
  check(!wrong.length, wrong.join("; "));
  console.log(`${TABS} tabs, each with ${views.length} views: all have commit ${seq}, ${compared} rows are those of the interface; first content after ${Math.round(painted)} ms`);
});
