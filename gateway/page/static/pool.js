// The pool at a glance: asks once a second, draws what comes.
"use strict";
import { ask, element, show, watchToken } from "./common.js";

const number = (v, digits = 0) => (v === undefined || v === null ? "–" : v.toLocaleString("en", { maximumFractionDigits: digits }));
const ms = (v) => (v === undefined || v === null ? "–" : number(v, v < 10 ? 1 : 0) + " ms");
const time = (t) => new Date(t).toLocaleTimeString();

function tile(name, value, bad = false) {
  return element("div", { class: "tile" }, element("b", bad ? { class: "bad" } : {}, value), element("span", {}, name));
}

function row(...cells) {
  return element("tr", {}, ...cells.map((c) => element("td", { class: "wide" }, String(c ?? ""))));
}

function nothing(columns, text) {
  return element("tr", {}, element("td", { colspan: columns, class: "dim" }, text));
}

// draw puts curves into an SVG of 600 by 100: a point a second, the newest on the right.
function draw(id, history, curves) {
  const top = Math.max(...history.flatMap((p) => curves.map((c) => p[c] ?? 0)), 0) || 1;
  const paths = curves.map((c) => {
    let d = "", pen = "M";
    history.forEach((p, i) => {
      if (p[c] === undefined || p[c] === null) { pen = "M"; return; }
      d += pen + (600 - history.length + i) + " " + (98 - 96 * p[c] / top).toFixed(2);
      if (pen === "M") d += "h.01"; // so that a single point is seen
      pen = "L";
    });
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("class", c);
    path.setAttribute("d", d);
    return path;
  });
  show(id, ...paths);
  return top;
}

function render(pool) {
  const state = document.getElementById("state");
  state.textContent = pool.ready ? "ready" : "not ready: " + pool.reason;
  state.className = "state " + (pool.ready ? "good" : "bad");
  show("tiles",
    tile("answers a second", number(pool.rate, 1)),
    tile("errors", number(100 * pool.errors, 2) + " %", pool.errors > 0.01),
    tile("p50", ms(pool.p50)), tile("p95", ms(pool.p95)), tile("p99", ms(pool.p99)),
    tile("records waiting", number(pool.lag_records)),
    tile("oldest waits", pool.lag_seconds === undefined ? "–" : number(pool.lag_seconds, 1) + " s", pool.lag_seconds > 60),
    tile("workers", number(pool.workers)),
    tile("requests waiting here", number(pool.waiting)),
    tile("breaker", pool.breaker, pool.breaker === "open"));
  document.getElementById("traffic-top").textContent = "up to " + number(draw("traffic", pool.history, ["answered", "failed"]));
  document.getElementById("latency-top").textContent = "up to " + ms(draw("latency", pool.history, ["p50", "p95", "p99"]));
  const asked = new Map(pool.versions.map((v) => [v.name + "/" + v.version, v.requests]));
  show("models", ...(pool.models.length
    ? pool.models.map((m) => row(m.name, m.version, m.flavor, new Date(m.loaded_at).toLocaleString(), number(asked.get(m.name + "/" + m.version) ?? 0)))
    : [nothing(5, pool.models_reason || "no worker serves a model")]));
  show("workers", ...(pool.answering.length ? pool.answering.map((w) => row(w.name, number(w.requests))) : [nothing(2, "none")]));
  show("failures", ...(pool.failures.length
    ? pool.failures.toReversed().map((f) => row(time(f.time), f.status, f.code, f.message, f.request))
    : [nothing(5, "none")]));
}

async function turn() {
  try {
    render(await ask("pool.json"));
  } catch (error) {
    const state = document.getElementById("state");
    state.textContent = error.message;
    state.className = "state bad";
  }
}

watchToken(turn);
turn();
setInterval(() => document.hidden || turn(), 1000);
