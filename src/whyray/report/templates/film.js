const calm = matchMedia("(prefers-reduced-motion: reduce)");
function player(film) {
  const frames = [...film.querySelectorAll(".frame")], slider = film.querySelector("input");
  if (!slider) return;
  const caption = film.querySelector(".caption"), needle = film.querySelector(".needle");
  const mark = film.querySelector(".mark"), difference = film.querySelector(".difference");
  const [play, flicker, differ] = film.querySelectorAll(".buttons button");
  let timer = 0, at = 0;
  const show = (i) => {
    frames.forEach((frame, k) => frame.classList.toggle("shown", k === i));
    film.classList.remove("differing");
    differ.setAttribute("aria-pressed", "false");
    const { words, share } = frames[i].dataset;
    caption.textContent = words;
    needle.setAttribute("width", share);
    needle.classList.toggle("positive", mark !== null && Number(share) >= Number(mark.getAttribute("x1")));
    slider.value = String(i);
    slider.setAttribute("aria-valuetext", words);
  };
  const stop = () => {
    clearInterval(timer);
    caption.setAttribute("aria-live", "polite");
    for (const button of [play, flicker]) button.setAttribute("aria-pressed", "false");
    play.textContent = calm.matches ? "Step" : "Play";
  };
  const start = (button, sequence, ms) => {
    const again = button.getAttribute("aria-pressed") === "true";
    stop();
    if (again) return;
    const now = Number(slider.value);
    if (sequence[at] !== now) at = Math.max(0, sequence.indexOf(now));  // else on in the direction it had
    const step = () => { at = (at + 1) % sequence.length; show(sequence[at]); };
    if (calm.matches) return step();  // nothing moves by itself: one step a press
    button.setAttribute("aria-pressed", "true");
    caption.setAttribute("aria-live", "off");
    if (button === play) play.textContent = "Pause";
    timer = setInterval(step, ms);
  };
  const order = film.dataset.order.split(",").map(Number);
  play.addEventListener("click", () => start(play, order, Number(film.dataset.ms)));
  flicker.addEventListener("click", () => start(flicker, [0, frames.length - 1], 500));
  slider.addEventListener("input", () => { stop(); show(Number(slider.value)); });
  differ.addEventListener("click", () => {
    stop();
    if (!film.classList.toggle("differing")) return show(Number(slider.value));
    differ.setAttribute("aria-pressed", "true");
    caption.textContent = difference.dataset.words;
  });
  calm.addEventListener("change", stop);
  stop();
  show(Number(slider.value));
}
document.querySelectorAll(".film").forEach(player);
