"use strict";
// Line charts as plain SVG. Every text is set as text, never as markup.
const SVG = "http://www.w3.org/2000/svg";
const DASHES = ["", "7 3", "2 3", "9 3 2 3", "12 4", "4 2", "1 4", "8 2 1 2 1 2"];

function shape(name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, String(value));
  if (text !== undefined) node.textContent = text;
  return node;
}

function swatch(number) {
  const box = shape("svg", {width: 26, height: 10, viewBox: "0 0 26 10", "aria-hidden": "true"});
  box.append(shape("path", {d: "M0 5H26", class: "curve k" + number % 8, "stroke-dasharray": DASHES[number % 8]}));
  return box;
}

function short(value) {
  if (value >= 1e6) return +(value / 1e6).toPrecision(3) + " M";
  return value >= 1e4 ? +(value / 1e3).toPrecision(3) + " k" : String(value);
}

function ticks(top, log) {
  const found = [0];
  if (log) { for (let step = 1; step <= top; step *= 10) found.push(step); return found; }
  const rough = Math.max(1, top / 5), unit = 10 ** Math.floor(Math.log10(rough));
  const gap = unit * ([1, 2, 5, 10].find((many) => many * unit >= rough) || 10);
  for (let step = gap; step <= top; step += gap) found.push(step);
  return found;
}

// lines: {name, points: [[step, value, …], …], number, live}
function chart(title, lines, log) {
  const wide = 620, high = 330, left = 58, right = 14, top = 30, foot = 48;
  const last = Math.max(1, ...lines.flatMap((line) => line.points.map((point) => point[0])));
  const at = (step) => log ? Math.log10(step + 1) / Math.log10(last + 1) : step / last;
  const x = (step) => (left + at(step) * (wide - left - right)).toFixed(1);
  const y = (value) => (top + (1 - value) * (high - top - foot)).toFixed(1);
  const ends = lines.filter((line) => line.points.length)
    .map((line) => line.name + " " + percent(line.points[line.points.length - 1][1]));
  const picture = shape("svg", {viewBox: `0 0 ${wide} ${high}`, role: "img",
    "aria-label": `${title} against step. Last values: ${ends.join("; ") || "none yet"}.`});
  picture.append(shape("text", {x: left, y: 16, class: "name"}, title));
  for (const value of [0, .25, .5, .75, 1]) {
    picture.append(shape("path", {d: `M${left} ${y(value)}H${wide - right}`, class: "grid"}));
    picture.append(shape("text", {x: left - 8, y: +y(value) + 4, "text-anchor": "end"}, value * 100 + "%"));
  }
  for (const step of ticks(last, log)) {
    picture.append(shape("path", {d: `M${x(step)} ${y(0)}v5`, class: "grid"}));
    picture.append(shape("text", {x: x(step), y: +y(0) + 20, "text-anchor": "middle"}, short(step)));
  }
  picture.append(shape("text", {x: (left + wide - right) / 2, y: high - 6, "text-anchor": "middle"},
    "step (updates of the weights)" + (log ? ", logarithmic" : "")));
  for (const line of lines) {
    const kind = "k" + line.number % 8;
    if (line.points.length > 1) {
      const d = line.points.map((point, place) => (place ? "L" : "M") + x(point[0]) + " " + y(point[1])).join("");
      picture.append(shape("path", {d, class: `curve ${kind}${line.live ? " live" : ""}`, "stroke-dasharray": line.live ? "1 3" : DASHES[line.number % 8]}));
    }
    if (line.points.length <= 40) {
      for (const [step, value, runs] of line.points) {
        const dot = shape("circle", {cx: x(step), cy: y(value), r: line.live ? 2 : 3, class: kind});
        dot.append(shape("title", {}, `${line.name}, step ${step}: ${percent(value)}` + (runs ? `, mean of ${runs} runs` : "")));
        picture.append(dot);
      }
    }
  }
  return picture;
}

function percent(value) { return (100 * value).toFixed(1) + "%"; }
