// Tables: sort by a column, search names, show some rows; those of layers choose a layer.
{
  const collator = new Intl.Collator("en", {numeric: true});
  const compared = (a, b) => typeof a === "string" ? collator.compare(a, b) : a - b;

  for (const table of document.querySelectorAll("table.sortable")) {
    const key = table.dataset.section, {names, columns, kinds} = page.data[key], linked = key === "layers";
    const body = table.tBodies[0], rows = [...body.rows], heads = [...table.tHead.rows[0].cells];
    const [search, kind, shown] = ["search", "kind", "shown"].map((part) => document.getElementById(`${key}-${part}`));

    const sort = (head) => {
      const column = head.dataset.column, values = column ? columns[column] : names, before = head.getAttribute("aria-sort");
      const rising = before ? before === "descending" : values.some((value) => typeof value === "string");
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      const known = (n) => values[n] !== null && values[n] !== "";
      const compare = (a, b) => known(b) - known(a) || (known(a) && known(b) ? (rising ? 1 : -1) * compared(values[a], values[b]) : 0) || a - b;
      body.append(...names.map((_, n) => n).sort(compare).map((n) => rows[n]));
    };
    for (const head of heads) {
      const button = page.make("button", {type: "button"}, head.textContent);
      head.replaceChildren(button);
      button.addEventListener("click", () => sort(head));
    }

    const worded = heads.map((head, n) => !n || columns[head.dataset.column]?.some((value) => typeof value === "string"));
    const texts = rows.map((row) => [...row.cells].filter((_, n) => worded[n]).map((cell) => cell.textContent.toLowerCase()).join("\n"));
    const show = () => {
      const text = search.value.toLowerCase(), chosen = kind && kind.value ? new Set(kinds[kind.value]) : null;
      let count = 0;
      rows.forEach((row, n) => { row.hidden = !(texts[n].includes(text) && (!chosen || chosen.has(n))); count += !row.hidden; });
      shown.textContent = count === rows.length ? `${page.count(count)} ${count === 1 ? "row" : "rows"}` : `${page.count(count)} of ${page.count(rows.length)} rows`;
    };
    search.addEventListener("input", show);
    if (kind) kind.addEventListener("change", show);
    show();

    if (!linked) continue;
    rows.forEach((row, n) => {
      const head = row.cells[0];
      head.replaceChildren(page.make("button", {type: "button"}, ...head.childNodes));
      row.addEventListener("click", () => page.choose(n, "table"));
    });
    page.on("choose", (number, from) => {
      rows.forEach((row, n) => { row.classList.toggle("chosen", n === number); n === number ? row.setAttribute("aria-current", "true") : row.removeAttribute("aria-current"); });
      if (from !== "table" && from !== "start") {
        const box = body.closest(".scroll");
        box.scrollTop = rows[number].offsetTop - box.clientHeight / 2;
      }
    });
  }
}
