// What both pages share. A bearer token, where the gateway wants one, is kept for the
// tab alone.
"use strict";

export function element(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  e.append(...children);
  return e;
}

export function show(id, ...children) {
  document.getElementById(id).replaceChildren(...children);
}

export function authorized(headers = {}) {
  const token = sessionStorage.getItem("token");
  return token ? { ...headers, Authorization: "Bearer " + token } : headers;
}

// ask fetches JSON. When a token is needed, the field for it appears.
export async function ask(path) {
  const response = await fetch(path, { headers: authorized() });
  document.getElementById("token").hidden = response.status !== 401 && !sessionStorage.getItem("token");
  if (!response.ok) throw new Error(response.status === 401 ? "a bearer token is needed" : "HTTP " + response.status);
  return response.json();
}

export function watchToken(again) {
  const field = document.querySelector("#token input");
  field.value = sessionStorage.getItem("token") ?? "";
  field.addEventListener("change", () => {
    sessionStorage.setItem("token", field.value);
    again();
  });
}
