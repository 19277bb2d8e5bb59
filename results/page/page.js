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

// The selected line, which is also to be seen.
function selectedLine(board) {
  const selected = board.querySelector("input[type=radio]:checked")?.closest("tr");
  board.querySelector("tr.selected")?.classList.remove("selected");
  selected?.classList.add("selected");
  return selected;
}

const SELECT_FIRST = "Select a line first, by the circle at its left.";

function filter(board) {
  const words = board.querySelector(".words").value.toLowerCase().split(/\s+/);
  const against = board.querySelector(".against");
  const selected = selectedLine(board);
  const output = board.querySelector("output");
  if (against && against.value !== "all" && !selected) output.textContent = SELECT_FIRST;
  else if (output.textContent === SELECT_FIRST) output.textContent = "";
  for (const row of board.querySelectorAll("table.lines tbody tr")) {
    const text = row.textContent.toLowerCase();
    let shown = words.every((word) => text.includes(word));
    if (against && against.value !== "all" && selected && row !== selected) {
      const apart = ((BigInt(`0x${selected.dataset.apart}`) >> BigInt(row.dataset.line)) & 1n) === 1n;
      shown = shown && "placed" in row.dataset && apart === (against.value === "apart");
    }
    row.hidden = !shown;
  }
}

async function copy(board, what) {
  const output = board.querySelector("output");
  const selected = selectedLine(board);
  if (!selected) {
    output.textContent = SELECT_FIRST;
    return;
  }
  if (!selected.dataset[what]) {
    output.textContent = "This line is held against no other.";
    return;
  }
  output.textContent = selected.dataset[what];
  getSelection().selectAllChildren(output);
  // Where a browser forbids it, the command stands there, selected.
  await navigator.clipboard?.writeText(selected.dataset[what]).catch(() => undefined);
}

const made = (name, text = "") => Object.assign(document.createElement(name), { textContent: text });

function offer(select, names, chosen) {
  const before = select.value;
  select.replaceChildren(...names.map((name) => made("option", name)));
  select.value = names.includes(before) ? before : names[chosen];
}

// Where one line loses IoU: the table on the page is that of the first.
function showErrors(errors, place) {
  const [name, splits] = JSON.parse(errors.querySelector("script.splits").textContent)[place];
  errors.querySelector("caption").textContent = name;
  const rows = splits.map(([of, iou, missed, taken, confused, mostly]) => {
    const row = made("tr");
    const bar = Object.assign(made("span"), { className: "bar", ariaHidden: "true" });
    for (const [kind, share] of Object.entries({ right: iou, missed, taken, confused })) {
      const piece = Object.assign(made("i"), { className: kind });
      piece.style.flexGrow = number(share) ?? 0;
      bar.append(piece);
    }
    const barred = made("td");
    barred.append(bar);
    row.append(Object.assign(made("th", of), { scope: "row" }), made("td", iou), barred);
    row.append(...[missed, taken, confused].map((text) => made("td", text)));
    row.append(Object.assign(made("td", mostly), { className: "text" }));
    return row;
  });
  errors.querySelector("tbody").replaceChildren(...rows);
}

// Photo by photo: what two lines reach on each, in an order, with the pictures that there are.
function showPhotos(section) {
  const field = (name) => section.querySelector(`.${name}`);
  const stages = [...section.querySelectorAll("script.scores")].map((each) => JSON.parse(each.textContent));
  const tiles = JSON.parse(document.getElementById(`${section.dataset.part}-tiles`)?.textContent ?? "null");
  const every = "any class";
  let count = 8;

  function picture(caption, place) {
    const figure = made("figure");
    const image = Object.assign(made("img"), { loading: "lazy", decoding: "async", alt: caption, src: tiles.images[place] });
    // Of a small picture every pixel is to be seen.
    image.addEventListener("load", () => image.classList.toggle("small", image.naturalWidth < 100));
    figure.append(image, made("figcaption", caption));
    return figure;
  }

  function pictures(photo, names) {
    const row = made("tr");
    const cell = Object.assign(made("td"), { colSpan: 5 });
    const group = (kind) => Object.assign(made("div"), { className: `tiles ${kind}` });
    // What B made stands below what A made of it, stage by stage.
    const [first, second] = [group("first"), group("second")];
    first.append(picture("photo", photo.photo));
    if (photo.truth !== null) first.append(picture("truth", photo.truth));
    for (const [letter, name] of names) {
      const list = letter === "A" ? first : second;
      for (const [head, place] of photo.lines[name] ?? []) list.append(picture(`${letter}: ${head}`, place));
    }
    cell.append(first);
    if (second.childElementCount) cell.append(second);
    row.append(cell);
    return row;
  }

  function draw() {
    const stage = stages[field("scored").value];
    const [a, b] = ["a", "b"].map((name) => stage.lines.indexOf(field(name).value));
    const wanted = stage.classes.indexOf(field("class").value);
    let found = stage.photos
      .map((id, n) => ({ id, n, a: stage.per_mille[a][n], b: stage.per_mille[b][n] }))
      .filter(({ n, a, b }) => a !== null && b !== null && (wanted < 0 || stage.shown[n].includes(wanted)))
      .sort((one, other) => other.a - one.a);
    const order = field("order").value;
    if (order === "differ") found.sort((one, other) => Math.abs(other.a - other.b) - Math.abs(one.a - one.b));
    if (order === "worst") found.reverse();
    if (order === "median") {
      const middle = (found.length - 1) / 2;
      found = found
        .map((photo, place) => [Math.abs(place - middle), photo])
        .sort(([one], [other]) => one - other)
        .map(([, photo]) => photo);
    }
    if (field("pictured")?.checked) found = found.filter(({ id }) => id in tiles.photos);
    const head = made("tr");
    for (const title of ["photo", "shows", "A", "B", "A − B"]) {
      head.append(Object.assign(made("th", title), { scope: "col", className: title === "shows" ? "text" : "" }));
    }
    section.querySelector("thead").replaceChildren(head);
    const told = (value) => (value / 1000).toFixed(3);
    const rows = found.slice(0, count).flatMap((photo) => {
      const row = made("tr");
      const shown = stage.shown[photo.n].map((n) => stage.classes[n]).join(", ");
      const apart = photo.a - photo.b;
      row.append(Object.assign(made("th", photo.id), { scope: "row" }), Object.assign(made("td", shown), { className: "text" }));
      for (const text of [told(photo.a), told(photo.b), (apart > 0 ? "+" : "") + told(apart)]) row.append(made("td", text));
      const drawn = tiles?.photos[photo.id];
      const names = [["A", stage.lines[a]], ["B", stage.lines[b]]].slice(0, a === b ? 1 : 2);
      return drawn ? [row, pictures(drawn, names)] : [row];
    });
    if (!rows.length) rows.push(made("tr"));
    if (!found.length) rows[0].append(made("td", "no such photo"));
    section.querySelector("tbody").replaceChildren(...rows);
    field("more").hidden = found.length <= count;
  }

  function change() {
    const stage = stages[field("scored").value];
    offer(field("a"), stage.lines, 0);
    offer(field("b"), stage.lines, 1);
    offer(field("class"), [every, ...stage.classes], 0);
    draw();
  }

  section.querySelector(".tools").addEventListener("input", () => {
    count = 8;
    change();
  });
  field("more").addEventListener("click", () => {
    count += 8;
    draw();
  });
  change();
}

for (const board of document.querySelectorAll(".board")) {
  const table = board.querySelector("table.lines");
  [...table.tHead.rows[0].cells].forEach((head, place) => {
    const button = head.querySelector("button");
    button?.addEventListener("click", () => sortBy(table, place, button));
  });
  board.querySelector(".tools").addEventListener("input", () => filter(board));
  table.addEventListener("input", () => filter(board));
  for (const button of board.querySelectorAll(".copy")) {
    button.addEventListener("click", () => copy(board, button.dataset.what));
  }
}
for (const errors of document.querySelectorAll(".errors")) {
  const choice = errors.querySelector("select.line");
  // A browser that comes back to the page may have kept the choice.
  if (choice.selectedIndex > 0) showErrors(errors, choice.selectedIndex);
  choice.addEventListener("input", () => showErrors(errors, choice.selectedIndex));
}
for (const section of document.querySelectorAll(".photos")) showPhotos(section);
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
