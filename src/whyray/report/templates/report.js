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
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const details of opened) details.open = true;
});
addEventListener("afterprint", () => { for (const details of opened) details.open = false; });
