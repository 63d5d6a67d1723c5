// The dashboard of a job: one page, one stream of events.

import { Views, connect } from "./stream.js";
import { bars, drawBars, groups, line, number, plan, short } from "./charts.js";

const $ = (id) => document.getElementById(id);

/** Without a sign of life for so long, the job counts as lost. */
const LOST_MS = 5000;
const COMMITS_MAX = 300;
const ROWS_MAX = 200;
const BARS_MAX = 12;
/** Views up to this size come at once; larger ones when they are looked at. */
const SMALL = 5000;

const words = { ok: "running well", warn: "running, look soon", bad: "running, look now", none: "connecting" };
const instant = (text) => (text ? text.replace("T", " ").replace("Z", "") : "–");
const state = {
  views: new Views(),
  connection: null,
  wanted: null,
  known: [],
  selected: decodeURIComponent(location.hash.slice(1)) || null,
  sort: null,
  commits: [],
  seen: 0,
  lost: 0,
  tries: 0,
  chart: null,
  drawn: false,
};

function el(name, text, more = {}) {
  const element = document.createElement(name);
  element.textContent = text;
  for (const [key, value] of Object.entries(more)) element.setAttribute(key, value);
  return element;
}

const clock = (ms) => new Date(ms).toLocaleTimeString("en-GB");

function duration(ms) {
  const s = Math.floor(ms / 1000);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} days`;
}

// --- the connection ------------------------------------------------------------------------------------------------

function start() {
  state.connection?.close();
  state.views = new Views();
  state.wanted = state.known.filter((view) => view.rows <= SMALL || view.name === state.selected).map((view) => view.name);
  const query = `views=${state.wanted.map(encodeURIComponent).join(",")}&snapshot=true&status=true&progress=1`;
  state.connection = connect(state.views, query, {
    open: alive,
    lost: () => judge(),
    refused: () => $("ask").open || $("ask").showModal(),
    progress: (data) => {
      alive();
      if (data.status) show(data.status);
    },
    commit: (data, changed) => {
      alive();
      $("as-of").textContent = `as of commit ${number(data.seq)}${data.watermark ? `, event time ${instant(data.watermark)} UTC` : ""}`;
      document.body.dataset.seq = data.seq;
      if (!state.drawn || changed.has(state.selected)) draw(changed.get(state.selected));
    },
  });
}

function alive() {
  if (state.lost) state.tries += 1;
  state.seen = Date.now();
  state.lost = 0;
  judge();
}

/** Says whether the job lives, from what was heard last. */
function judge(judgement = state.judgement) {
  state.judgement = judgement;
  const silent = Date.now() - state.seen;
  const isLost = state.seen > 0 && silent > LOST_MS;
  if (isLost && !state.lost) state.lost = state.seen;
  const body = document.body.dataset;
  body.connection = isLost ? "lost" : state.seen ? "open" : "connecting";
  body.judgement = isLost ? "bad" : judgement ?? "none";
  body.reconnects = state.tries;
  $("lost").hidden = !isLost;
  if (isLost) {
    const since = `No sign of life since ${clock(state.lost)}.`;
    if (!$("lost").textContent.startsWith(since)) $("lost").textContent = `${since} The job was killed, hangs, or cannot be reached; this page goes on asking.`;
    $("why").textContent = "The job gives no sign of life.";
    if (state.said) $("evidence").textContent = `It said last: ${state.said}`;
    $("next").textContent = "headway status --lake … says whether it lives, and why not.";
    document.title = `no sign of life · ${$("job").textContent} · headway`;
    say("no sign of life");
  } else {
    say(body.judgement === "ok" && state.phase === "draining" ? "draining" : words[body.judgement]);
  }
}

function say(text) {
  if ($("state-text").textContent !== text) $("state-text").textContent = text;
}

// --- the job ---------------------------------------------------------------------------------------------------------

function show(job) {
  state.phase = job.state;
  if (job.state === "starting") {
    $("about").textContent = "the job reads its state, or waits for its sources";
    return judge("none");
  }
  judge(job.judgement);
  document.title = `${job.judgement === "ok" ? "" : `${words[job.judgement].split(", ")[1] ?? ""} · `}${job.job} · headway`;
  $("job").textContent = job.job;
  const busy = job.workers.length ? Math.round((100 * job.workers.reduce((a, b) => a + b, 0)) / job.workers.length) : 0;
  $("about").textContent = `pipeline ${job.pipeline} · up ${duration(job.running_ms)} · start ${job.generation} · ${job.workers.length} ${job.workers.length === 1 ? "worker" : "workers"}, ${busy} % busy · commit ${number(job.seq)}`;
  $("version").textContent = `headway ${job.version}`;
  state.said = job.why.sentence;
  $("why").textContent = state.said;
  $("evidence").textContent = job.why.evidence.join(" · ");
  $("next").textContent = job.why.healthy ? "" : job.why.next;
  tiles(job.numbers);
  $("rate").textContent = number(job.records_per_second);
  commits(job.commits);
  partitions(job.partitions);
  operators(job.operators);
  const fates = Object.entries(job.fates).filter(([name, count]) => name !== "consumed" && count > 0);
  $("fates").textContent = fates.map(([name, count]) => `${number(count)} ${name}`).join(" · ");
  views(job.views);
  document.body.dataset.ready = "true";
}

function figure(item) {
  if (item.value === null) return ["–", ""];
  if (item.unit === "s" && item.value >= 120) return [duration(item.value * 1000), ""];
  return [number(item.value, item.value < 10 ? 2 : item.value < 100 ? 1 : 0), item.unit];
}

function tiles(numbers) {
  const place = $("numbers");
  numbers.forEach((item, at) => {
    let tile = place.children[at];
    if (!tile) {
      tile = el("li", "", { class: "tile" });
      tile.innerHTML = '<p class="name"><span class="mark" aria-hidden="true"></span><span></span></p><p class="value"><span></span> <small></small></p><p class="quiet"></p>';
      place.append(tile);
    }
    tile.dataset.judgement = item.judgement;
    tile.dataset.testid = item.name;
    const [value, unit] = figure(item);
    tile.children[0].lastChild.textContent = item.title;
    tile.children[1].children[0].textContent = value;
    tile.children[1].children[1].textContent = unit;
    const word = { ok: "", warn: "look soon: ", bad: "look now: ", none: "" }[item.judgement];
    tile.children[2].textContent = word + item.note;
  });
  while (place.children.length > numbers.length) place.lastChild.remove();
}

const throughput = line($("throughput"), "records/s", 30);
const took = line($("took-chart"), "ms", 30);

function commits(fresh) {
  const last = state.commits.at(-1)?.seq ?? -1;
  // After a restart of the job its commits go on where they were.
  state.commits.push(...fresh.filter((commit) => commit.seq > last));
  state.commits.splice(0, state.commits.length - COMMITS_MAX);
  const all = state.commits;
  if (!all.length) return;
  const xs = all.map((commit) => commit.at_ms / 1000);
  const rate = all.map((commit, at) => {
    const seconds = at ? Math.max(0.05, (commit.at_ms - all[at - 1].at_ms) / 1000) : 1;
    return commit.records / seconds;
  });
  throughput.draw(xs, rate);
  took.draw(xs, all.map((commit) => commit.took_ms));
  $("took").textContent = number(all.at(-1).took_ms, 1);
  $("throughput").setAttribute("aria-label", `Records committed per second, last ${duration((xs.at(-1) - xs[0]) * 1000)}; at most ${short(Math.max(...rate))}`);
  $("took-chart").setAttribute("aria-label", `Milliseconds of each commit; at most ${short(Math.max(...all.map((commit) => commit.took_ms)))}`);
  if (!fresh.length) return;
  const rows = all.slice(-12).reverse().map((commit) => {
    const [step] = Object.entries(commit.steps_ms).sort((a, b) => b[1] - a[1])[0] ?? ["–"];
    const row = document.createElement("tr");
    row.append(el("td", number(commit.seq), { class: "n" }), el("td", clock(commit.at_ms)), el("td", number(commit.records), { class: "n" }),
      el("td", number(commit.rows), { class: "n" }), el("td", number(commit.took_ms, 1), { class: "n" }), el("td", step));
    return row;
  });
  $("commits").tBodies[0].replaceChildren(...rows);
}

function partitions(all) {
  const bad = all.filter((part) => part.judgement === "bad" || part.judgement === "warn").length;
  $("waiting").textContent = `${all.length} ${all.length === 1 ? "partition" : "partitions"}${bad ? `, ${bad} behind` : ""}`;
  const worst = { bad: 0, warn: 1, ok: 2, none: 3 };
  const sorted = [...all].sort((a, b) => worst[a.judgement] - worst[b.judgement] || (b.lag ?? 0) - (a.lag ?? 0));
  const rows = sorted.slice(0, 100).map((part) => {
    const row = document.createElement("tr");
    row.append(el("th", `${part.topic} ${part.partition}`, { scope: "row" }), el("td", number(part.next), { class: "n" }), el("td", number(part.lag), { class: "n" }),
      el("td", instant(part.watermark)), el("td", part.waits, { class: "waits", "data-judgement": part.judgement }));
    return row;
  });
  $("partitions").tBodies[0].replaceChildren(...rows);
}

/** What takes the time of the workers, the most first. */
function operators(all) {
  const percent = (share) => `${number(100 * share, 1)} %`;
  const most = all.find((operator) => operator.share > 0);
  $("slowest").textContent = most ? `${most.operator} takes the most time: ${percent(most.share)} of the last seconds` : "";
  const rows = all.map((operator) => {
    const row = document.createElement("tr");
    row.append(el("th", operator.operator, { scope: "row" }), el("td", percent(operator.share), { class: "n" }),
      el("td", number(operator.records_in), { class: "n" }), el("td", number(operator.records_out), { class: "n" }));
    return row;
  });
  $("operators").tBodies[0].replaceChildren(...rows);
}

// --- the views ---------------------------------------------------------------------------------------------------------

function views(known) {
  const names = (list) => list.map((view) => view.name).join();
  const isNew = names(known) !== names(state.known);
  state.known = known;
  if (isNew) {
    if (!known.some((view) => view.name === state.selected)) state.selected = known[0]?.name ?? null;
    tabs();
    start();
  }
  for (const view of known) {
    const tab = document.getElementById(`tab-${view.name}`);
    if (tab) tab.lastChild.textContent = short(view.rows);
  }
}

function tabs() {
  $("tabs").replaceChildren(...state.known.map((view) => {
    const isSelected = view.name === state.selected;
    const tab = el("button", view.name, { type: "button", role: "tab", id: `tab-${view.name}`, "aria-controls": "panel", "aria-selected": isSelected, tabindex: isSelected ? 0 : -1 });
    tab.append(el("small", short(view.rows)));
    tab.addEventListener("click", () => select(view.name));
    return tab;
  }));
}

$("tabs").addEventListener("keydown", (event) => {
  const at = state.known.findIndex((view) => view.name === state.selected);
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: state.known.length - 1 }[event.key];
  const view = state.known[to];
  if (!view) return;
  event.preventDefault();
  select(view.name);
  document.getElementById(`tab-${view.name}`).focus();
});

function select(name) {
  state.selected = name;
  state.sort = null;
  $("find").value = "";
  history.replaceState(null, "", `#${encodeURIComponent(name)}`);
  for (const tab of $("tabs").children) {
    const isSelected = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", isSelected);
    tab.tabIndex = isSelected ? 0 : -1;
  }
  state.chart?.end();
  state.chart = null;
  $("view-chart").replaceChildren();
  $("facet").replaceChildren();
  $("measure").replaceChildren();
  if (!state.wanted.includes(name)) start();
  draw();
}

function options(select, names, preferred) {
  if ([...select.options].map((option) => option.value).join("\n") === names.join("\n")) return;
  const value = select.value;
  select.replaceChildren(...names.map((name) => el("option", name, { value: name })));
  select.value = names.includes(value) ? value : preferred;
}

function draw(fresh = new Set()) {
  const table = state.views.tables.get(state.selected);
  state.drawn = Boolean(table);
  $("controls").hidden = !table;
  if (!table) return;
  $("panel").setAttribute("aria-labelledby", `tab-${state.selected}`);
  $("view-about").textContent = state.known.find((view) => view.name === state.selected)?.about ?? "";
  const how = plan(table);
  options($("measure"), how.measures, how.measures[0]);
  const all = groups(table, how);
  options($("facet"), all, all.find((group) => group.includes("overall")) ?? all.at(-1));
  $("facet-label").hidden = all.length < 2;
  $("facet-name").textContent = how.groups.join(", ");
  chart(table, how);
  rows(table, fresh);
}

function chart(table, how) {
  const [place, measure] = [$("view-chart"), $("measure").value];
  place.hidden = !measure;
  if (!measure) return;
  if (how.kind === "line") {
    if (!state.chart) {
      place.replaceChildren(el("div", "", { class: "chart" }));
      state.chart = line(place.firstChild, measure, 3600);
    }
    const points = [...table.rows.values()].map((row) => [Date.parse(row[how.time]) / 1000, Number(row[measure] ?? 0)]);
    points.sort((a, b) => a[0] - b[0]);
    state.chart.draw(points.map((point) => point[0]), points.map((point) => point[1]));
    place.setAttribute("aria-label", `${measure} by ${how.time}, ${points.length} points; the table has the figures`);
    return;
  }
  const found = bars(table, how, $("facet").value, measure, BARS_MAX);
  drawBars(place, found);
  place.setAttribute("aria-label", `${measure}: ${found.slice(0, 3).map((bar) => `${bar.label} ${number(bar.value)}`).join(", ")}; the table has the figures`);
}

function rows(table, fresh) {
  const text = $("find").value.toLowerCase();
  let all = [...table.rows];
  if (text) all = all.filter(([, row]) => Object.values(row).some((value) => String(value ?? "").toLowerCase().includes(text)));
  if (state.sort) {
    const { name, down } = state.sort;
    const isText = table.columns.find((column) => column.name === name)?.type !== "integer";
    const compare = isText ? (a, b) => String(a ?? "").localeCompare(String(b ?? "")) : (a, b) => Number(a ?? -Infinity) - Number(b ?? -Infinity);
    all.sort((a, b) => (down ? -1 : 1) * compare(a[1][name], b[1][name]));
  } else {
    all.sort((a, b) => byKey(table, a[1], b[1]));
  }
  $("count").textContent = all.length > ROWS_MAX ? `first ${ROWS_MAX} of ${number(all.length)} rows` : `${number(all.length)} ${all.length === 1 ? "row" : "rows"}`;
  header(table);
  const body = $("rows").tBodies[0] ?? $("rows").createTBody();
  body.replaceChildren(...all.slice(0, ROWS_MAX).map(([key, row]) => {
    const line = document.createElement("tr");
    if (fresh.has(key)) line.className = "new";
    for (const { name, type } of table.columns) {
      const isNumber = type === "integer" || type === "number";
      line.append(isNumber ? el("td", number(row[name]), { class: "n" }) : el("td", type === "instant" ? instant(row[name]) : row[name] ?? "–"));
    }
    return line;
  }));
}

function byKey(table, a, b) {
  for (const name of table.key) {
    if (a[name] !== b[name]) return a[name] === null || a[name] < b[name] ? -1 : 1;
  }
  return 0;
}

function header(table) {
  const wanted = `${state.selected} ${JSON.stringify(state.sort)}`;
  if ($("rows").dataset.header === wanted) return;
  $("rows").dataset.header = wanted;
  const focused = document.activeElement?.dataset?.column;
  const row = document.createElement("tr");
  for (const { name, type } of table.columns) {
    const sorted = state.sort?.name === name ? (state.sort.down ? "descending" : "ascending") : "none";
    const head = el("th", "", { scope: "col", "aria-sort": sorted, ...(type === "integer" || type === "number" ? { class: "n" } : {}) });
    const button = el("button", `${name}${{ descending: " ↓", ascending: " ↑", none: "" }[sorted]}`, { type: "button", "data-column": name });
    button.addEventListener("click", () => {
      state.sort = { name, down: !(state.sort?.name === name && state.sort.down) };
      draw();
    });
    head.append(button);
    row.append(head);
    if (focused === name) queueMicrotask(() => button.focus());
  }
  const place = $("rows").tHead ?? $("rows").createTHead();
  place.replaceChildren(row);
}

for (const id of ["facet", "measure", "find"]) $(id).addEventListener("input", () => draw());

$("ask-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const answer = await fetch("/v1/session", { method: "POST", headers: { Authorization: `Bearer ${$("token").value}` } }).catch(() => null);
  if (!answer?.ok) {
    $("ask-error").textContent = answer ? "This is not the token." : "The job does not answer.";
    return;
  }
  $("ask").close();
  start();
});

setInterval(() => judge(), 1000);
start();
