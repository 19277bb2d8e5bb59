"use strict";
// A number that a cell begins with, if in brackets; a hole (✗, –) has none, whatever mark follows it, and sorts last.
function number(text) {
  const found = text.match(/^\[?([-+]?\d+(?:\.\d+)?)/);
  return found ? Number(found[1]) : null;
}

function sortBy(table, place, button) {
  const head = button.closest("th");
  const isText = head.classList.contains("text");
  const isRank = button.textContent === "rank";
  const first = isText || isRank ? "ascending" : "descending";
  const second = first === "ascending" ? "descending" : "ascending";
  const order = head.getAttribute("aria-sort") === first ? second : first;
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", order);
  const sign = order === "ascending" ? 1 : -1;
  const keyed = [...table.tBodies[0].rows].map((row) => {
    const text = row.cells[place].textContent.trim();
    return [row, isText ? text : number(text)];
  });
  keyed.sort(([, a], [, b]) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (isText ? a.localeCompare(b, "en", { numeric: true }) : a - b);
  });
  table.tBodies[0].append(...keyed.map(([row]) => row));
}

function filter(board) {
  const words = board.querySelector(".words").value.toLowerCase().split(/\s+/);
  const against = board.querySelector(".against");
  const selected = board.querySelector("input[type=radio]:checked")?.closest("tr");
  for (const row of board.querySelectorAll("table.lines tbody tr")) {
    const text = row.textContent.toLowerCase();
    let shown = words.every((word) => text.includes(word));
    if (against && against.value !== "all" && selected && row !== selected) {
      const apart = selected.dataset.apart.split(" ").includes(row.dataset.line);
      shown = shown && "placed" in row.dataset && apart === (against.value === "apart");
    }
    row.hidden = !shown;
  }
}

async function copy(board) {
  const output = board.querySelector("output");
  const selected = board.querySelector("input[type=radio]:checked")?.closest("tr");
  if (!selected) {
    output.textContent = "Select a line first.";
    return;
  }
  output.textContent = selected.dataset.command;
  getSelection().selectAllChildren(output);
  // Where a browser forbids it, the command stands there, selected.
  await navigator.clipboard?.writeText(selected.dataset.command).catch(() => undefined);
}

for (const board of document.querySelectorAll(".board")) {
  const table = board.querySelector("table.lines");
  [...table.tHead.rows[0].cells].forEach((head, place) => {
    const button = head.querySelector("button");
    button?.addEventListener("click", () => sortBy(table, place, button));
  });
  board.addEventListener("input", () => filter(board));
  board.querySelector(".copy").addEventListener("click", () => copy(board));
}
for (const field of document.querySelectorAll("input.pictures")) {
  field.addEventListener("input", () => {
    for (const figure of field.closest("section").querySelectorAll("figure")) {
      figure.hidden = !figure.dataset.name.toLowerCase().includes(field.value.toLowerCase());
    }
  });
}
// What is folded away on a screen is read on paper.
addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details")) folded.open = true;
});
