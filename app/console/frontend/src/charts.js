// Draws each figure with `data-chart`, the URL of its data (app/console/charts.py), with uPlot.
import uPlot from "uplot";

import { number, percent } from "./numbers.js";

const HEIGHT = 230;
const COLOURS = 8;
const drawn = new WeakMap(); // figure → { plot, data }

export function drawCharts(root) {
  for (const figure of root.querySelectorAll("[data-chart]")) draw(figure);
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const figure of document.querySelectorAll("[data-chart]")) {
    const known = drawn.get(figure);
    if (known) show(figure, known.data);
  }
});

async function draw(figure) {
  const place = figure.querySelector("[data-plot]");
  try {
    const answer = await fetch(figure.dataset.chart, { headers: { "X-Requested-With": "chart" } });
    if (!answer.ok) throw new Error(await answer.text());
    const data = await answer.json();
    if (data.x.length < 2) return tell(place, "Not enough in this range yet: choose a longer one, or wait for exposures to mature.");
    show(figure, data);
  } catch (error) {
    if (!drawn.has(figure)) tell(place, `No chart: ${error.message}. The table has the figures.`);
  }
}

function tell(place, text) {
  const words = document.createElement("p");
  words.className = "empty";
  words.textContent = text;
  place.replaceChildren(words);
}

function show(figure, data) {
  const place = figure.querySelector("[data-plot]");
  const hidden = drawn.get(figure)?.plot.series.filter((s) => !s.show).map((s) => s.label) ?? [];
  drawn.get(figure)?.plot.destroy();
  place.replaceChildren();
  place.setAttribute("role", "img");
  place.setAttribute("aria-label", `${figure.querySelector("h3").textContent}, as a chart; the table has the same figures`);
  const { series, bands, columns } = data.kind === "stack" ? stacked(data) : lines(data);
  const plot = new uPlot({ ...options(data, place), series: [first(data), ...series], bands }, [data.x, ...columns], place);
  plot.series.forEach((one, i) => { if (i && hidden.includes(one.label)) plot.setSeries(i, { show: false }); });
  drawn.set(figure, { plot, data });
  new ResizeObserver(() => plot.setSize({ width: place.clientWidth, height: HEIGHT })).observe(place);
}

function options(data, place) {
  const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--rule"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 }, font: "11px system-ui" };
  const format = data.format === "percent" ? percent : number;
  const isTime = data.kind !== "density";
  return {
    width: place.clientWidth,
    height: HEIGHT,
    scales: { x: { time: isTime, range: data.range ?? undefined }, y: { range: height(data) } },
    axes: [
      { ...axis, ...(isTime ? {} : { values: (_, ticks) => ticks.map(number) }) },
      data.kind === "density" ? { ...axis, show: false } : { ...axis, size: 58, values: (_, ticks) => ticks.map(format) },
    ],
    cursor: isTime ? { sync: { key: "time" }, y: false } : { y: false },
    hooks: { draw: [(plot) => mark(plot, data.events), (plot) => limit(plot, data.thresholds, format)] },
  };
}

// Bands are cut where they would make the lines flat.
function height(data) {
  if (data.kind === "stack") return [0, 1];
  if (data.kind === "density") return (_, __, highest) => [0, highest * 1.05];
  const means = data.series.flatMap((one) => one.values).filter((value) => value !== null);
  const edges = data.series.flatMap((one) => [...(one.lower ?? []), ...(one.upper ?? [])]).filter((value) => value !== null);
  const limits = data.thresholds.map((one) => one.value);
  const [low, high] = [Math.min(...means, ...limits), Math.max(...means, ...limits.map((value) => value * 1.15))];
  const room = Math.max((high - low) * 0.75, Math.abs(high) * 0.02, 1e-9);
  const bottom = Math.max(Math.min(low, ...edges), low - room);
  return [low >= 0 ? Math.max(bottom, 0) : bottom, Math.min(Math.max(high, ...edges), high + room)];
}

function first(data) {
  return data.kind === "density" ? { label: "Mean", value: (_, x) => number(x) } : { label: "Time" };
}

function lines(data) {
  const series = [];
  const bands = [];
  const columns = [];
  const format = data.format === "percent" ? percent : number;
  data.series.forEach((one) => {
    const stroke = colour(`--s${(one.colour % COLOURS) + 1}`);
    const at = columns.length + 1;
    series.push({ label: one.label, stroke, width: 1.75, spanGaps: true, points: { show: data.x.length < 40, size: 4 }, fill: data.kind === "density" ? faint(stroke) : undefined, value: (_, y) => format(y) });
    columns.push(one.values);
    if (one.lower) {
      series.push(edge(one.label, "upper"), edge(one.label, "lower"));
      columns.push(one.upper, one.lower);
      bands.push({ series: [at + 1, at + 2], fill: faint(stroke) });
    }
  });
  return { series, bands, columns };
}

// The edges of a band: drawn by its fill alone, and no line of the legend.
function edge(label, which) {
  return { label: `${label} ${which}`, class: "edge", width: 0, spanGaps: true, points: { show: false } };
}

// Each column is the sum of those up to it; the legend shows what was added.
function stacked(data) {
  const columns = [];
  let sums = data.x.map(() => 0);
  for (const one of data.series) {
    sums = sums.map((sum, i) => sum + (one.values[i] ?? 0));
    columns.push(sums);
  }
  const series = data.series.map((one) => {
    const stroke = colour(`--s${(one.colour % COLOURS) + 1}`);
    const paths = uPlot.paths.stepped({ align: 1 });
    return { label: one.label, stroke, width: 1, paths, points: { show: false }, fill: solid(stroke), value: (_, __, ___, at) => percent(one.values[at]) };
  });
  const bands = series.slice(1).map((_, i) => ({ series: [i + 2, i + 1], fill: series[i + 1].fill }));
  return { series, bands, columns };
}

// Thresholds of alerts, across.
function limit(plot, thresholds, format) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.lineWidth = devicePixelRatio;
  ctx.strokeStyle = ctx.fillStyle = colour("--bad");
  ctx.textAlign = "left";
  ctx.textBaseline = "bottom";
  ctx.font = `${11 * devicePixelRatio}px system-ui`;
  for (const { label, value } of thresholds) {
    const y = Math.round(plot.valToPos(value, "y", true));
    if (y < bbox.top || y > bbox.top + bbox.height) continue;
    ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.fillText(`${label} ${format(value)}`, bbox.left + 6 * devicePixelRatio, y - 4 * devicePixelRatio);
  }
  ctx.restore();
}

// Changes of the configuration and flips of alerts, on the time axis.
function mark(plot, events) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.lineWidth = devicePixelRatio;
  for (const event of events) {
    const x = Math.round(plot.valToPos(event.at, "x", true));
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.strokeStyle = colour(event.kind === "firing" ? "--bad" : event.kind === "resolved" ? "--good" : "--quiet");
    ctx.setLineDash(event.kind === "change" ? [3 * devicePixelRatio, 3 * devicePixelRatio] : []);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

const faint = (hex) => `${hex}26`;
const solid = (hex) => `${hex}b3`;
