// Charts: lines by uPlot, bars by plain elements. Every chart has a table with the same figures beside it.

const DAY = /^\d{4}-\d{2}-\d{2}/;

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export const number = (value, digits = 0) =>
  value === null || value === undefined ? "–" : Number(value).toLocaleString("en", { maximumFractionDigits: digits });

/** A line over time in `place`, over `span` seconds at least; `draw(xs, ys)` shows points, x in seconds. */
export function line(place, unit, span) {
  let plot = null;
  let data = [[], []];
  const make = () => {
    plot?.destroy();
    const axis = { stroke: color("--quiet"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
    plot = new uPlot({
      width: Math.max(place.clientWidth, 120),
      height: place.clientHeight || 150,
      legend: { show: false },
      cursor: { y: false, points: { size: 6 } },
      padding: [8, 4, 0, 0],
      scales: { x: { range: (_, min, max) => (max - min < span ? [max - span, max] : [min, max]) }, y: { range: (_, __, max) => [0, max > 0 ? max * 1.1 : 1] } },
      axes: [
        { ...axis, space: 80, size: 26, values: (_, values) => values.map((value) => at(value, values)) },
        { ...axis, size: 52, space: 34, values: (_, values) => values.map((value) => short(value)) },
      ],
      series: [
        {},
        { label: unit, stroke: color("--fill"), width: 2, fill: `${color("--fill")}22`, points: { show: false } },
      ],
    }, data, place);
  };
  const width = new ResizeObserver(() => plot?.setSize({ width: Math.max(place.clientWidth, 120), height: place.clientHeight || 150 }));
  width.observe(place);
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", make);
  return {
    draw(xs, ys) {
      data = [xs, ys];
      if (plot) plot.setData(data);
      else make();
    },
    end() {
      width.disconnect();
      scheme.removeEventListener("change", make);
      plot?.destroy();
    },
  };
}

/** An instant on an axis: the day where the axis has days, else the time of day. */
function at(value, all) {
  const date = new Date(value * 1000);
  const step = all.length > 1 ? all[1] - all[0] : 1;
  if (step >= 86400) return date.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
  return date.toLocaleTimeString("en-GB", step >= 60 ? { hour: "2-digit", minute: "2-digit" } : {});
}

/** A number in few characters. */
export function short(value) {
  const size = Math.abs(value);
  if (size >= 1e9) return `${+(value / 1e9).toFixed(1)}G`;
  if (size >= 1e6) return `${+(value / 1e6).toFixed(1)}M`;
  if (size >= 1e4) return `${+(value / 1e3).toFixed(0)}k`;
  if (size >= 1e3) return `${+(value / 1e3).toFixed(1)}k`;
  return String(+value.toFixed(2));
}

/** What can be drawn of a table: a column of numbers, over time or by name, in groups where there are any. */
export function plan(table) {
  const of = (name) => table.columns.find((column) => column.name === name);
  const isNumber = (name) => of(name).type === "integer" || of(name).type === "number";
  const sample = table.rows.values().next().value ?? {};
  const isTime = (name) => of(name).type === "instant" || (of(name).type === "text" && DAY.test(sample[name] ?? ""));
  const key = table.key;
  const measures = table.columns.map((column) => column.name).filter((name) => isNumber(name) && !key.includes(name));
  const rank = key.includes("rank") ? "rank" : null;
  const times = key.filter(isTime);
  if (rank) {
    const groups = key.filter((name) => name !== rank);
    const labels = table.columns.map((column) => column.name).filter((name) => !key.includes(name) && !isNumber(name));
    return { kind: "bars", measures, groups, rank, labels };
  }
  if (times.length === 1 && key.length === 1) return { kind: "line", measures, groups: [], time: times[0] };
  const labels = key.filter((name) => !times.includes(name));
  return { kind: "bars", measures, groups: times, rank: null, labels: labels.length ? labels : key };
}

/** The groups of a table, the newest or widest last. */
export function groups(table, plan) {
  const all = new Set();
  if (!plan.groups.length) return [];
  for (const row of table.rows.values()) all.add(plan.groups.map((name) => row[name] ?? "").join(" · "));
  return [...all].sort();
}

/** The bars of a group: label and value, greatest first or in the order of ranks. */
export function bars(table, plan, group, measure, most) {
  const sums = new Map();
  for (const row of table.rows.values()) {
    if (plan.groups.length && plan.groups.map((name) => row[name] ?? "").join(" · ") !== group) continue;
    const [name, ...more] = plan.labels.map((name) => row[name] ?? "–");
    const label = [name ?? "–", ...more].join(" · ");
    const at = sums.get(label) ?? { label, name: name ?? "–", more: more.join(" · "), value: 0, rank: plan.rank ? row[plan.rank] : 0 };
    at.value += Number(row[measure] ?? 0);
    sums.set(label, at);
  }
  return [...sums.values()].sort((a, b) => a.rank - b.rank || b.value - a.value || (a.label < b.label ? -1 : 1)).slice(0, most);
}

/** Draws bars into `place`, in the elements that are there. */
export function drawBars(place, found) {
  while (place.children.length > found.length) place.lastChild.remove();
  const most = Math.max(1, ...found.map((bar) => bar.value));
  found.forEach((bar, at) => {
    let element = place.children[at];
    if (!element) {
      element = document.createElement("div");
      element.className = "bar";
      element.innerHTML = '<span class="label"></span><span class="track"><span></span></span><span class="value"></span>';
      place.append(element);
    }
    const [label, track, value] = element.children;
    label.replaceChildren(bar.name, Object.assign(document.createElement("small"), { textContent: bar.more ? ` ${bar.more}` : "" }));
    label.title = bar.label;
    track.firstChild.style.width = `${Math.max(0, (100 * bar.value) / most)}%`;
    value.textContent = number(bar.value);
  });
}
