// A form made from what the workers say of the models that they serve.
"use strict";
import { ask, authorized, element, show, watchToken } from "./common.js";

const at = (id) => document.getElementById(id);
let models = [];

const chosen = () => models[at("model").selectedIndex];
const row = (...cells) => element("tr", {}, ...cells.map((c) => element("td", { class: "wide" }, String(c ?? ""))));
const pretty = (text) => {
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
};
const quoted = (text) => "'" + text.replaceAll("'", "'\\''") + "'";

function headers() {
  const h = { "Content-Type": "application/json" };
  if (chosen()) h["X-Model"] = chosen().name + "/" + chosen().version;
  if (at("timeout").value) h["X-Request-Timeout"] = at("timeout").value;
  return h;
}

function curl() {
  const url = new URL("." + at("path").value, location.href).href;
  const lines = Object.entries(headers()).map(([k, v]) => " -H " + quoted(k + ": " + v));
  if (sessionStorage.getItem("token")) lines.push(' -H "Authorization: Bearer $TOKEN"');
  let body = at("body").value;
  try { body = JSON.stringify(JSON.parse(body)); } catch { /* as it is */ }
  at("curl").textContent = "curl -sS " + quoted(url) + lines.join("") + " -d " + quoted(body);
}

// fields lists inputs or outputs: as they were logged, else as the runtime has them.
function fields(logged, tensors) {
  if (!logged?.length) return tensors.map((t) => [t.name, t.datatype, JSON.stringify(t.shape), ""]);
  return logged.map((f) => f["tensor-spec"]
    ? [f.name ?? "", f["tensor-spec"].dtype, JSON.stringify(f["tensor-spec"].shape), "yes"]
    : [f.name ?? "", f.type, "", f.required === false ? "no" : "yes"]);
}

function choose() {
  const m = chosen();
  if (!m) return;
  at("body").value = m.example ? JSON.stringify(m.example, null, 2) : "";
  show("inputs", ...fields(m.signature?.inputs, m.inputs).map((f) => row(...f)));
  show("outputs", ...fields(m.signature?.outputs, m.outputs).map((f) => row(...f.slice(0, 3))));
  curl();
}

async function load() {
  try {
    const pool = await ask("pool.json");
    models = pool.models;
    show("model", ...models.map((m) => element("option", {}, m.name + " " + m.version)));
    at("state").textContent = models.length ? "" : pool.models_reason || "no worker serves a model: write a request yourself";
    if (!models.length) setTimeout(load, 2000); // a pool that starts
    choose();
    curl();
  } catch (error) {
    at("state").textContent = error.message;
  }
}

async function send() {
  at("send").disabled = true;
  const begun = performance.now();
  try {
    const response = await fetch("." + at("path").value, { method: "POST", headers: authorized(headers()), body: at("body").value });
    const text = await response.text();
    at("status").textContent = response.status;
    at("status").className = response.ok ? "good" : "bad";
    at("text").textContent = pretty(text);
    show("headers", ...["x-model-name", "x-model-version", "x-worker", "ce-id", "x-request-id", "retry-after"]
      .filter((h) => response.headers.has(h)).map((h) => row(h, response.headers.get(h))));
  } catch (error) {
    at("status").textContent = "no answer";
    at("status").className = "bad";
    at("text").textContent = error.message;
    show("headers");
  }
  at("took").textContent = Math.round(performance.now() - begun) + " ms";
  at("answer").hidden = false;
  at("send").disabled = false;
}

watchToken(load);
at("model").addEventListener("change", choose);
for (const id of ["path", "timeout", "body"]) at(id).addEventListener("input", curl);
at("send").addEventListener("click", send);
load();
