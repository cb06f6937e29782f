"use strict";
document.documentElement.classList.add("js");
const root = document.documentElement;
function toggler(id, name) {
  const button = document.getElementById(id);
  const flip = () => button.setAttribute("aria-pressed", String(!root.classList.toggle(name)));
  button.addEventListener("click", flip);
  return flip;
}
const keys = { h: toggler("toggle-overlay", "no-overlay"), c: toggler("toggle-contour", "no-contour") };
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input:not([type=range]), textarea")) return;
  const act = keys[event.key.toLowerCase()];
  if (act && !event.repeat) { act(); event.preventDefault(); }
});
document.getElementById("opacity").addEventListener("input", (event) => {
  root.style.setProperty("--heat", String(event.target.value / 100));
});
for (const button of document.querySelectorAll(".enlarge")) {
  button.addEventListener("click", () => {
    const wide = button.closest(".tile").classList.toggle("wide");
    button.setAttribute("aria-pressed", String(wide));
    button.textContent = wide ? "Reduce" : "Enlarge";
  });
}
for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = "Selected: press Ctrl+C";
    }
  });
}
const still = matchMedia("(prefers-reduced-motion: reduce)");
for (const film of document.querySelectorAll(".film")) {
  const frames = [...film.querySelectorAll(".frame")], order = film.dataset.order.split(",").map(Number);
  const slider = film.querySelector("input"), caption = film.querySelector(".caption");
  const buttons = { play: film.querySelector(".play"), flicker: film.querySelector(".flicker") };
  const differ = film.querySelector(".differ");
  let timer = 0, running = "";
  const show = (i) => {
    frames.forEach((frame, k) => frame.classList.toggle("shown", k === i));
    caption.textContent = frames[i].dataset.words;
    film.querySelector(".needle").setAttribute("width", frames[i].dataset.share);
    slider.value = String(i);
    slider.setAttribute("aria-valuetext", frames[i].dataset.words);
  };
  const stop = () => {
    clearInterval(timer);
    running = "";
    caption.setAttribute("aria-live", "polite");
    for (const button of Object.values(buttons)) button.setAttribute("aria-pressed", "false");
    buttons.play.textContent = "Play";
  };
  const start = (name, sequence, ms) => {
    const again = running === name;
    stop();
    if (again) return;
    let at = Math.max(0, sequence.indexOf(Number(slider.value)));
    if (still.matches) { show(sequence[(at + 1) % sequence.length]); return; }  // one step a press
    running = name;
    caption.setAttribute("aria-live", "off");
    buttons[name].setAttribute("aria-pressed", "true");
    if (name === "play") buttons.play.textContent = "Pause";
    timer = setInterval(() => { at = (at + 1) % sequence.length; show(sequence[at]); }, ms);
  };
  buttons.play.addEventListener("click", () => start("play", order, Number(film.dataset.ms)));
  buttons.flicker.addEventListener("click", () => start("flicker", [0, frames.length - 1], 500));
  slider.addEventListener("input", () => { stop(); show(Number(slider.value)); });
  differ.addEventListener("click", () => {
    differ.setAttribute("aria-pressed", String(film.classList.toggle("differing")));
  });
}
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const details of opened) details.open = true;
});
addEventListener("afterprint", () => { for (const details of opened) details.open = false; });
