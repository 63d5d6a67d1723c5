// Drives a headless Chromium for the programs beside it, which scripts/serve-suite calls: they print words and wait for answers.
"use strict";
const { chromium } = require("playwright-core");
const readline = require("readline");

const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Prints a word, and waits until its reader has done what it asks for. */
async function ask(word) {
  console.log(word);
  await answers.next();
}

/** Runs `work` with a browser, which it closes. */
async function run(work) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  try {
    await work(browser);
  } finally {
    await browser.close();
  }
}

/** The whole of a program: runs `work` with a browser, and exits with 0, or with 1 after it has said what went wrong. */
function main(work) {
  run(work).then(
    () => process.exit(0),
    (error) => {
      console.log(`browser: ${error.message}`);
      process.exit(1);
    },
  );
}

module.exports = { ask, main };
