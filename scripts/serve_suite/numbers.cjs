// Watches the five numbers of the dashboard in headless Chromium: each must be there, and must change. Called by
// scripts/serve_suite/numbers.py, which keeps the database from taking changes between HOLD and RELEASE. Argument: the address.
"use strict";
const { ask, main } = require("./chrome.cjs");

const [base] = process.argv.slice(2);
const NAMES = ["source-lag", "watermark-lag", "commit-p99", "dead-share", "target-lag"];
const PATIENCE = 90_000;

/** Waits until `holds`, which is given what each number shows, is true; what each has shown. */
async function watch(page, what, holds) {
  const end = Date.now() + PATIENCE;
  const shown = Object.fromEntries(NAMES.map((name) => [name, new Set()]));
  for (;;) {
    const now = await page.evaluate(() => Object.fromEntries([...document.querySelectorAll("#numbers li")].map((tile) => [tile.dataset.testid, tile.querySelector(".value span").textContent])));
    for (const [name, value] of Object.entries(now)) {
      if (!shown[name]) throw new Error(`there is a number ${name}`);
      if (value !== "–") shown[name].add(value);
    }
    if (holds(now, shown)) return shown;
    if (Date.now() > end) throw new Error(`${what}: the page shows ${JSON.stringify(now)}, and has shown ${JSON.stringify(Object.entries(shown).map(([name, values]) => [name, [...values]]))}`);
    await page.waitForTimeout(100);
  }
}

main(async (browser) => {
  const page = await browser.newPage();
  const wrong = [];
  page.on("pageerror", (error) => wrong.push(error.message));
  await page.goto(base);
  const changes = (shown, names) => names.every((name) => shown[name].size >= 3);
  // A target that keeps up is behind by nothing, always.
  const seen = await watch(page, "four numbers that change, and a fifth", (now, shown) => changes(shown, NAMES.slice(0, 4)) && shown["target-lag"].size > 0);
  await ask("HOLD");
  await watch(page, "a target that is behind", (now) => Number.parseFloat(now["target-lag"]) >= 2);
  await ask("RELEASE");
  await watch(page, "a target that has caught up", (now) => Number.parseFloat(now["target-lag"]) < 1);
  if (wrong.length) throw new Error(wrong.join("; "));
  console.log(`five numbers, all change: ${NAMES.map((name) => `${name} ${[...seen[name]].slice(0, 3).join(", ")}`).join("; ")}`);
});
