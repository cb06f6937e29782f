"use strict";
const items = [...document.querySelectorAll("fieldset")];
const quoted = (text) => `"${text.replaceAll('"', '""')}"`;

function answer(box) {
  const of = (name) => [...box.querySelectorAll(`[name="${name}-${box.dataset.item}"]`)];
  const chosen = of("j").find((input) => input.checked);
  const marked = of("s").filter((input) => input.checked).map((input) => input.value);
  return { item: box.dataset.item, justifies: chosen ? chosen.value : "", shortcomings: marked.join("|"), comment: of("c")[0].value };
}

function tell() {
  const done = items.filter((box) => answer(box).justifies).length;
  document.getElementById("state").textContent = `${done} of ${items.length} answered`;
}

function save() {
  const columns = ["item", "justifies", "shortcomings", "comment"];
  const rows = items.map(answer).map((row) => columns.map((column) => quoted(row[column])).join(","));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([[columns.join(","), ...rows].join("\n") + "\n"], { type: "text/csv" }));
  link.download = document.body.dataset.file;
  link.click();
  URL.revokeObjectURL(link.href);
}

for (const box of document.querySelectorAll("input[type=checkbox]")) {
  box.addEventListener("change", () => {
    const group = [...document.getElementsByName(box.name)];
    for (const other of group) {
      if (box.checked && other !== box && (box.value === "none" || other.value === "none")) other.checked = false;
    }
  });
}
document.addEventListener("change", tell);
document.getElementById("save").addEventListener("click", save);
window.addEventListener("beforeunload", (event) => { if (items.some((box) => answer(box).justifies)) event.preventDefault(); });
tell();
