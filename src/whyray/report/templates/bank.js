"use strict";
document.documentElement.classList.add("js");
const data = JSON.parse(document.getElementById("data").textContent);
const by = (id) => document.getElementById(id);
const list = by("list"), more = by("more"), step = 20;
const figures = ["relevance", "density", "stability", "monosemanticity"];
for (const card of data.cards) {
  card.text = [card.id, card.name, card.category, ...card.evidence, ...Object.keys(card.effects).map((f) => data.findings[f])].join(" ").toLowerCase();
}
const made = (name, className, text) => {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
};
const drawn = (name, attributes, text) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
};
const number = (value) => value === null ? "not measured" : String(Number(value.toPrecision(3)));
const signed = (value) => (value > 0 ? "+" : value < 0 ? "\u2212" : "") + Math.abs(value).toFixed(3);

function tile([key, path, activation]) {
  const image = data.images[key], figure = made("figure");
  const svg = drawn("svg", { viewBox: `0 0 ${image.w} ${image.h}`, role: "img", "aria-label": `${image.label}, activation ${activation}` });
  if (image.src) svg.append(drawn("image", { href: image.src, width: image.w, height: image.h }));
  else svg.append(drawn("rect", { class: "blank", width: image.w, height: image.h }), drawn("text", { class: "away", x: image.w / 2, y: image.h - 6 }, "not copied"));
  if (path) svg.append(drawn("path", { class: "rim", d: path }), drawn("path", { class: "edge", d: path }));
  figure.append(svg, made("figcaption", "", `${image.label} \u00b7 ${activation}`));
  return figure;
}

function effects(card, box) {
  const finding = by("finding").value;
  const rows = Object.entries(card.effects).filter(([name], i) => i < 5 || name === finding), end = Math.max(...rows.map(([, v]) => Math.abs(v)));
  for (const [finding, value] of rows) {
    const svg = drawn("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" });
    const wide = end ? 50 * Math.abs(value) / end : 0;
    svg.append(drawn("rect", { class: value > 0 ? "for" : "against", x: value > 0 ? 50 : 50 - wide, y: 1, width: wide, height: 8 }), drawn("path", { class: "axis", d: "M50 0V10" }));
    box.append(made("span", "", data.findings[finding]), svg, made("span", "num", signed(value)));
  }
}

function article(card) {
  const element = by("card").content.cloneNode(true).firstElementChild, find = (s) => element.querySelector(s);
  element.id = card.id;
  find("h2").textContent = card.name || card.id;
  find(".tag").textContent = card.category;
  find(".link").textContent = card.id;
  find(".link").href = "#" + card.id;
  find(".origin").textContent = card.origin;
  for (const name of figures) {
    const pair = made("div");
    pair.append(made("dt", "", name), made("dd", "", number(card[name])));
    find(".figures").append(pair);
  }
  effects(card, find(".effects"));
  find(".evidence").append(...card.evidence.map((text) => made("li", "", text)));
  const [first, ...rest] = Object.entries(card.groups).filter(([, tiles]) => tiles.length);
  if (first) { find(".first h3").textContent = first[0]; find(".first .tiles").append(...first[1].map(tile)); } else find(".first").remove();
  const details = find(".rest");
  if (!rest.length) { details.remove(); return element; }
  details.querySelector("summary").textContent = rest.map(([name]) => name).join(", ").toLowerCase().replace(/^./, (c) => c.toUpperCase());
  details.addEventListener("toggle", () => {
    if (details.querySelector(".tiles")) return;
    for (const [name, tiles] of rest) {
      const box = made("div", "tiles");
      box.append(...tiles.map(tile));
      details.append(made("h3", "", name), box);
    }
  });
  return element;
}

let chosen = [], shown = 0;
function grow(until) {
  list.append(...chosen.slice(shown, until).map(article));
  shown = Math.min(until, chosen.length);
  more.disabled = shown >= chosen.length;
}
function update() {
  const words = by("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const category = by("category").value, finding = by("finding").value, sort = by("sort").value;
  chosen = data.cards.filter((c) => (!category || c.category === category) && (!finding || finding in c.effects) && words.every((w) => c.text.includes(w)));
  const key = (c) => sort === "relevance" && finding ? Math.abs(c.effects[finding]) : c[sort] ?? -Infinity;
  chosen.sort((a, b) => (sort === "id" ? 0 : key(b) - key(a) || 0) || a.id.localeCompare(b.id, "en", { numeric: true }));
  by("count").textContent = `${chosen.length} of ${data.cards.length} patterns`;
  list.replaceChildren();
  shown = 0;
  grow(step);
}
function follow() {
  const wanted = decodeURIComponent(location.hash.slice(1));
  if (!data.cards.some((c) => c.id === wanted)) return;
  if (!chosen.some((c) => c.id === wanted)) { by("tools").reset(); update(); }
  grow(Math.max(shown, chosen.findIndex((c) => c.id === wanted) + 1));
  by(wanted).scrollIntoView();
}
by("tools").addEventListener("input", update);
by("tools").addEventListener("submit", (event) => event.preventDefault());
more.addEventListener("click", () => grow(shown + step));
addEventListener("hashchange", follow);
update();
follow();
