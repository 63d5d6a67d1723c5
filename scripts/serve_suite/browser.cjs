// Drives the dashboard and README's live list in headless Chromium. Called by scripts/serve-suite, which kills and starts the
// job when this prints KILL or START. Arguments: address, folder for pictures, README's page.
"use strict";
const { ask, main } = require("./chrome.cjs");
const axe = require("axe-core");
const fs = require("fs");
const path = require("path");

const [base, shots, live] = process.argv.slice(2);

function check(holds, what) {
  if (!holds) throw new Error(what);
}

/** A page that notes what goes wrong on it, and what it asks of others. */
async function open(browser, url, options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.wrong = [];
  page.on("pageerror", (error) => page.wrong.push(`error: ${error.message}`));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) page.wrong.push(`console: ${message.text()}`);
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(base) && !request.url().startsWith("file:")) page.wrong.push(`asks ${request.url()}`);
  });
  await page.goto(url);
  return page;
}

const ready = (page) => page.waitForFunction(() => document.body.dataset.ready === "true" && document.querySelectorAll("#rows tbody tr").length > 0, null, { timeout: 15_000 });
const data = (page, name) => page.evaluate((name) => document.body.dataset[name], name);
const text = (page, id) => page.textContent(`[data-testid=${id}]`);
const shot = (page, name) => page.screenshot({ path: path.join(shots, `${name}.png`), fullPage: true });

/** What a tool finds that people with a screen reader, a keyboard or weak eyes would stumble over. */
async function usable(page, what) {
  // The page's policy lets no script in; the tool runs in the page without being part of it.
  const found = await page.evaluate(`${axe.source}; axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"] })`);
  const list = found.violations.map((one) => `${one.id}: ${one.help} (${one.nodes.length}: ${one.nodes.slice(0, 2).map((node) => node.target).join(", ")})`);
  check(!list.length, `${what} is not usable by everyone:\n    ${list.join("\n    ")}`);
  return found.passes.length;
}

/** The rows of the selected view as the page shows them. */
const cells = (page) => page.evaluate(() => [...document.querySelectorAll("#rows tbody tr")].map((row) => [...row.cells].map((cell) => cell.textContent)));

async function numbers(page) {
  // The figures are those of the interface, as of one commit.
  for (let turn = 0; turn < 40; turn += 1) {
    const before = await data(page, "seq");
    const shown = await cells(page);
    const answer = await (await page.request.get(`${base}/v1/views/top_stations?limit=200`)).json();
    if (String(answer.seq) !== before || (await data(page, "seq")) !== before) {
      await page.waitForTimeout(50);
      continue;
    }
    const expected = answer.rows.map((row) => Object.values(row).map((value) => (typeof value === "number" ? value.toLocaleString("en") : value ?? "–")));
    check(JSON.stringify(shown) === JSON.stringify(expected), `the page shows ${JSON.stringify(shown[0])}, the interface has ${JSON.stringify(expected[0])}`);
    return;
  }
  throw new Error("the page is never as of the newest commit");
}

/** The table of operators: their shares add up, and the slowest comes first. */
async function operators(page) {
  const [all, slowest] = await page.evaluate(() => [
    [...document.querySelectorAll("#operators tbody tr")].map((row) => [...row.cells].map((cell) => cell.textContent)),
    document.getElementById("slowest").textContent,
  ]);
  const shares = all.map(([, share]) => Number.parseFloat(share));
  check(all.length > 5 && all.some(([name]) => name === "Ingest-turnstile"), `the operators are ${JSON.stringify(all)}`);
  check(Math.abs(shares.reduce((sum, share) => sum + share, 0) - 100) < 3, `the shares of operators are ${shares}`);
  check(shares.every((share, at) => at === 0 || share <= shares[at - 1]), "the slowest operator does not come first");
  check(slowest.startsWith(`${all[0][0]} takes the most time`), "it is not said which operator takes the most time");
}

async function keyboard(page) {
  await page.keyboard.press("Tab");
  check((await page.evaluate(() => document.activeElement.className)) === "skip", "the first stop is the way to the tables");
  await page.focus("[role=tab][aria-selected=true]");
  const first = await page.evaluate(() => document.activeElement.id);
  await page.keyboard.press("ArrowRight");
  await page.waitForFunction((first) => document.activeElement.getAttribute("aria-selected") === "true" && document.activeElement.id !== first, first);
  await page.keyboard.press("Home");
  await page.focus("#rows th button");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelector("#rows th").getAttribute("aria-sort") !== "none");
}

async function killed(page) {
  const before = Number(await data(page, "seq"));
  const began = Date.now();
  await ask("KILL");
  await page.waitForFunction(() => document.body.dataset.judgement === "bad" && document.body.dataset.connection === "lost", null, { timeout: 15_000 });
  const red = (Date.now() - began) / 1000;
  check((await page.isVisible("#lost")) && (await text(page, "state")).includes("no sign of life"), "it is not said in words");
  await shot(page, "killed");
  await usable(page, "the page of a killed job");
  await ask("START");
  await page.waitForFunction((before) => document.body.dataset.connection === "open" && Number(document.body.dataset.seq) > before, before, { timeout: 20_000 });
  check(Number(await data(page, "reconnects")) > 0, "it was not connected again");
  check(!(await page.isVisible("#lost")), "the warning stays");
  return red;
}

main(async (browser) => {
  const list = await open(browser, `${base}/v1/views`, {});
  check((await list.content()).includes("top_stations"), "there are no views");
  // README's ten lines, as a page of the job's own address would run them.
  const readme = await open(browser, `${base}/`, {});
  await readme.route("**/live.html", (route) => route.fulfill({ contentType: "text/html", headers: {}, body: fs.readFileSync(live, "utf8") }));
  await readme.goto(`${base}/live.html`);
  await readme.waitForFunction(() => document.querySelectorAll("li").length === 10, null, { timeout: 15_000 });
  check(!readme.wrong.length, readme.wrong.join("; "));

  const began = Date.now();
  const page = await open(browser, `${base}/#top_stations`, { viewport: { width: 1440, height: 1000 }, colorScheme: "light" });
  await ready(page);
  const first = Date.now() - began;
  await numbers(page);
  check((await page.evaluate(() => document.querySelectorAll("canvas").length)) >= 2, "there are no charts");
  // All but that of targets, which this job has none of: `numbers` watches all five.
  const shown = await page.evaluate(() => [...document.querySelectorAll("#numbers li")].map((tile) => tile.dataset.testid));
  check(shown.join(" ") === "source-lag watermark-lag commit-p99 dead-share", `the numbers are ${shown}`);
  await operators(page);
  const passed = await usable(page, "the page");
  await shot(page, "light");
  const sent = await page.evaluate(() => performance.getEntriesByType("resource").filter((one) => one.name.includes("/v1/")).length);
  check(sent <= 2, `${sent} requests for data: one stream is enough`);
  for (const [name, options] of [
    ["dark", { viewport: { width: 1440, height: 1000 }, colorScheme: "dark" }],
    ["phone", { viewport: { width: 390, height: 844 }, isMobile: true, deviceScaleFactor: 2, colorScheme: "light" }],
  ]) {
    const other = await open(browser, `${base}/#top_stations`, options);
    await ready(other);
    const wide = await other.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    check(wide <= 0, `${name} is ${wide} px too wide`);
    await usable(other, name);
    await shot(other, name);
    check(!other.wrong.length, `${name}: ${other.wrong.join("; ")}`);
    await other.context().close();
  }
  // A browser gives one address six connections, and each page holds one.
  const context = await browser.newContext();
  const tabs = await Promise.all([1, 2, 3, 4, 5, 6].map(async () => {
    const tab = await context.newPage();
    await tab.goto(`${base}/#top_stations`);
    await ready(tab);
    return tab;
  }));
  await page.waitForTimeout(1_000);
  const { seq } = await (await page.request.get(`${base}/v1/views`)).json();
  for (const tab of tabs) {
    await tab.waitForFunction((seq) => Number(document.body.dataset.seq) >= seq, seq, { timeout: 10_000, polling: 100 });
  }
  await context.close();
  await keyboard(page);
  const red = await killed(page);
  await numbers(page).catch(async () => {
    await page.click("#tab-top_stations");
    await numbers(page);
  });
  // What the network says of a job that is gone is not the page's.
  const own = page.wrong.filter((line) => !/ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET|503/.test(line));
  check(!own.length, own.join("; "));

  console.log(`first figures after ${first} ms; red ${red.toFixed(1)} s after a kill; ${passed} rules of axe-core pass; pictures: ${fs.readdirSync(shots).join(", ")}`);
});
