// What is known of the chosen layer: its mask as a picture, its degrees, and why what is dead is dead.
{
  const {names, columns, details} = page.data.layers;
  const box = document.getElementById("detail"), {make, count, share} = page;
  const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const level = Object.fromEntries([...ALPHABET].map((letter, n) => [letter, n]));
  let order = "plain";

  function rgb(name) {
    const text = page.colour(name).slice(1), full = text.length === 3 ? [...text].map((c) => c + c).join("") : text;
    return [0, 2, 4].map((at) => parseInt(full.slice(at, at + 2), 16));
  }
  const mix = (a, b, t) => a.map((value, n) => value + (b[n] - value) * t);

  function paint(canvas, picture) {
    const levels = picture[order], context = canvas.getContext("2d");
    const image = context.createImageData(picture.across, picture.down);
    const ground = rgb("ground"), alive = rgb("alive"), dead = rgb("dead");
    for (let n = 0; n < picture.across * picture.down; n++) {
      const kept = level[levels.kept[n]], active = Math.min(level[levels.active[n]], kept);
      const colour = kept ? mix(ground, mix(dead, alive, active / kept), .3 + .7 * Math.sqrt(kept / 63)) : ground;
      image.data.set([...colour, 255], 4 * n);
    }
    context.putImageData(image, 0, 0);
  }

  function mask(number) {
    const {picture, dead} = details[number], figure = make("figure");
    figure.append(make("h4", {}, "Mask"));
    if (!picture.plain) return figure;
    const exact = picture.rows === picture.down && picture.columns === picture.across;
    const canvas = make("canvas", {class: "mask", width: picture.across, height: picture.down, role: "img",
      "aria-label": `Mask of ${names[number]}: ${picture.rows} rows by ${picture.columns} columns, ${share(1 - dead.in.kept / dead.in.all)} of the rows keep a connection, ${share(1 - dead.in.active / dead.in.all)} have an active one. The degrees beside it are its table.`});
    const ratio = Math.max(.3, Math.min(2, picture.rows / picture.columns));
    const wide = Math.min(380, 300 / ratio);
    canvas.style.width = `${wide}px`;
    canvas.style.aspectRatio = `1 / ${ratio}`;
    const buttons = make("span", {class: "choices", role: "group", "aria-label": "Order of rows and columns"});
    for (const [key, text] of [["plain", "network's order"], ["sorted", "by degree"]]) buttons.append(make("button", {type: "button", "data-order": key, "aria-pressed": order === key}, text));
    page.choices(buttons, "order", (value) => { order = value; paint(canvas, picture); });
    canvas.addEventListener("pointermove", (event) => {
      const area = canvas.getBoundingClientRect(), at = (place, start, size, cells) => Math.max(0, Math.min(cells - 1, Math.floor((place - start) / size * cells)));
      const row = at(event.clientY, area.top, area.height, picture.down), column = at(event.clientX, area.left, area.width, picture.across);
      const levels = picture[order], n = row * picture.across + column, kept = level[levels.kept[n]], active = level[levels.active[n]];
      const range = (cell, cells, size) => { const first = Math.floor(cell * size / cells), last = Math.floor((cell + 1) * size / cells) - 1; return first === last ? `${first}` : `${first} to ${last}`; };
      const where = `${order === "plain" ? "Row" : "Place by degree: row"} ${range(row, picture.down, picture.rows)}, column ${range(column, picture.across, picture.columns)}`;
      page.say(event, exact ? `${where}\n${kept ? active ? "active" : "kept, but dead" : "dropped"}` : `${where}\nabout ${share(kept / 63 * levels.most)} kept, ${share(Math.min(active, kept) / 63 * levels.most)} active`);
    });
    canvas.addEventListener("pointerleave", (event) => page.say(event, ""));
    paint(canvas, picture);
    figure.append(make("p", {}, buttons), canvas, make("p", {class: "quiet"}, make("span", {class: "key alive"}), " active ", make("span", {class: "key dead"}), ` kept, but dead. ${count(picture.rows)} rows (outputs) by ${count(picture.columns)} columns (inputs and taps)${exact ? "" : `, drawn as ${picture.down} × ${picture.across} cells`}.`));
    return figure;
  }

  function degrees(number, side, title, unit) {
    const found = details[number].degrees[side], dead = details[number].dead[side], figure = make("figure");
    const labels = found.from.map((from, n) => from === found.to[n] ? `${from}` : `${from}–${found.to[n]}`);
    figure.append(make("h4", {}, title), make("p", {class: "quiet"}, `Of ${count(dead.all)} ${unit}, ${count(dead.kept)} keep no connection and ${count(dead.active)} have no active one.`));
    const width = 320, height = 170, margin = {top: 6, right: 4, bottom: 30, left: 40};
    const x = d3.scaleBand(labels, [margin.left, width - margin.right]).padding(.12);
    const y = d3.scaleLinear([0, Math.max(1, ...found.kept, ...found.active)], [height - margin.bottom, margin.top]).nice(4);
    const svg = d3.create("svg").attr("viewBox", [0, 0, width, height]).attr("width", "100%").attr("role", "img").attr("aria-label", `${title} of ${names[number]}; the table below it has the numbers.`);
    svg.append("g").attr("transform", `translate(${margin.left},0)`).call(d3.axisLeft(y).ticks(4, "~s").tickSize(margin.left + margin.right - width)).call((axis) => axis.select(".domain").remove());
    const every = Math.ceil(labels.length * (Math.max(...labels.map((label) => label.length)) * 6.5 + 8) / (width - margin.left - margin.right));
    svg.append("g").attr("transform", `translate(0,${height - margin.bottom})`).call(d3.axisBottom(x).tickSize(0).tickPadding(6).tickValues(labels.filter((_, n) => n % every === 0)));
    svg.append("text").attr("x", width - margin.right).attr("y", height - 2).attr("text-anchor", "end").text("connections per " + unit.replace(/s$/, ""));
    for (const [part, mark] of [["kept", "kept"], ["active", "alive"]]) {
      svg.append("g").selectAll("rect").data(found[part]).join("rect").attr("class", mark).attr("x", (_, n) => x(labels[n]) + (part === "active" ? x.bandwidth() / 2 : 0)).attr("width", x.bandwidth() / 2).attr("y", (value) => y(value)).attr("height", (value) => y(0) - y(value));
    }
    const table = make("table", {}, make("thead", {}, make("tr", {}, ...["connections", "kept", "active"].map((text) => make("th", {scope: "col", class: "number"}, text)))));
    const body = make("tbody");
    labels.forEach((label, n) => body.append(make("tr", {}, make("th", {scope: "row", class: "number"}, label), make("td", {class: "number"}, count(found.kept[n])), make("td", {class: "number"}, count(found.active[n])))));
    table.append(body);
    figure.append(svg.node(), make("details", {}, make("summary", {}, "As a table"), table));
    return figure;
  }

  function draw(number) {
    const {why, uses} = details[number];
    const line = `${count(columns.kept[number])} of ${count(columns.connections[number])} connections kept, ${count(columns.active[number])} active${uses > 1 ? `; used in ${uses} places` : ""}`;
    const panes = make("div", {class: "panes"}, mask(number), degrees(number, "in", "In-degrees", "rows"), degrees(number, "out", "Out-degrees", "input channels"));
    const list = make("ul", {class: "why"}, ...(why.length ? why : ["Nothing that is kept is dead."]).map((text) => make("li", {}, text)));
    box.replaceChildren(make("h3", {}, names[number]), make("p", {class: "quiet"}, line), list, panes);
  }

  page.on("choose", (number, from) => { draw(number); if (from === "table" || from === "bars") box.scrollIntoView({block: "nearest"}); });
  page.on("theme", () => { if (page.chosen >= 0) draw(page.chosen); });
  const lost = columns.kept.map((kept, n) => kept - columns.active[n]);
  addEventListener("DOMContentLoaded", () => { if (page.chosen < 0) page.choose(lost.indexOf(Math.max(...lost)), "start"); });
}
