// The table of layers: sort by a column, search names, show some, choose one.
{
  const {names, columns} = page.data.layers;
  const table = document.getElementById("table"), body = table.tBodies[0];
  const rows = [...body.rows], heads = [...table.tHead.rows[0].cells];
  const search = document.getElementById("search"), filter = document.getElementById("filter");
  const collator = new Intl.Collator("en", {numeric: true});
  const kinds = {
    all: () => true,
    dead: (n) => columns.dead[n] > 0,
    collapsed: (n) => columns.active[n] === 0 && columns.connections[n] > 0,
  };

  for (const row of rows) {
    const head = row.cells[0], button = page.make("button", {type: "button"}, ...head.childNodes);
    head.replaceChildren(button);
    row.addEventListener("click", () => page.choose(Number(row.dataset.row), "table"));
  }

  function sort(head) {
    const column = head.dataset.column, rising = head.getAttribute("aria-sort") === "descending" || (column === "parameter" && head.getAttribute("aria-sort") !== "ascending");
    heads.forEach((each) => each.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const values = columns[column === "shape" ? "connections" : column];
    const compare = column === "parameter" ? (a, b) => collator.compare(names[a], names[b]) : (a, b) => values[a] - values[b];
    const order = names.map((_, n) => n).sort((a, b) => (rising ? compare(a, b) : compare(b, a)) || a - b);
    body.append(...order.map((n) => rows[n]));
  }

  for (const head of heads) {
    const button = page.make("button", {type: "button"}, head.textContent);
    head.replaceChildren(button);
    button.addEventListener("click", () => sort(head));
  }

  function show() {
    const text = search.value.toLowerCase(), kind = kinds[filter ? filter.value : "all"];
    let count = 0;
    rows.forEach((row, n) => { row.hidden = !(names[n].toLowerCase().includes(text) && kind(n)); count += !row.hidden; });
    document.getElementById("shown").textContent = count === names.length ? `${page.count(count)} ${count === 1 ? "row" : "rows"}` : `${page.count(count)} of ${page.count(names.length)} rows`;
  }
  search.addEventListener("input", show);
  if (filter) filter.addEventListener("change", show);
  show();

  page.on("choose", (number, from) => {
    rows.forEach((row, n) => { row.classList.toggle("chosen", n === number); n === number ? row.setAttribute("aria-current", "true") : row.removeAttribute("aria-current"); });
    if (from !== "table" && from !== "start") {
      const box = body.closest(".scroll"), row = rows[number];
      box.scrollTop = row.offsetTop - box.clientHeight / 2;
    }
  });
}
