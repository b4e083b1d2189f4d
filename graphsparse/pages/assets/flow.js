// The flow of modules and layers, as SVG: bars of units by state, lines of connections; what is fragile is drawn on it.
const flow = (() => {
  const data = page.data.flow, {count, share, make} = page;
  const STATES = ["alive", "constant", "starved", "stranded"], HEIGHT = 380;
  const box = document.getElementById("flow-picture"), said = document.getElementById("flow-said"), below = document.getElementById("flow-chosen");
  const parameters = Object.fromEntries(page.data.layers.names.map((name, n) => [name.replace(/\.[^.]*$/, ""), n]));
  const groups = [...new Set(data.modules)];
  let level = null, focus = null, chosen = -1, fragile = "none", shown = null, zooming = null;

  const layerNodes = (keep) => data.names.map((name, n) => ({key: n, name, layers: [n], column: data.columns[n], lane: data.lanes[n]})).filter((node) => keep(node.key));
  const moduleNodes = () => groups.map((name, n) => ({key: n, name, layers: data.modules.map((each, i) => each === name ? i : -1).filter((i) => i >= 0), column: n, lane: 0}));

  // What is drawn: nodes with their counts, and lines between them; all of it are sums over layers.
  function picture() {
    const nodes = level === "modules" ? moduleNodes() : layerNodes((n) => focus === null || focus.layers.has(n));
    const home = new Map(nodes.flatMap((node, place) => node.layers.map((layer) => [layer, place])));
    for (const node of nodes) {
      node.states = STATES.map((_, s) => d3sum(node.layers, (layer) => data.states[layer][s]));
      node.units = d3sum(node.layers, (layer) => data.units[layer]);
    }
    const columns = [...new Set(nodes.map((node) => node.column))].sort((a, b) => a - b);
    nodes.forEach((node) => { node.column = columns.indexOf(node.column); });
    const lines = new Map();
    for (const [from, to, kind, kept, active] of data.edges) {
      const a = home.get(from), b = home.get(to);
      if (a === undefined || b === undefined || a === b) continue;
      const key = `${a} ${b}`, line = lines.get(key) || {a, b, kept: 0, active: 0, wires: true, parts: []};
      line.kept += kept; line.active += active; line.wires &&= kind !== "connections"; line.parts.push([from, to]);
      lines.set(key, line);
    }
    return {nodes, lines: [...lines.values()], columns: columns.length};
  }
  const d3sum = (values, of) => values.reduce((sum, value) => sum + of(value), 0);

  function marked(line) {
    const found = data.fragile[fragile];
    return found && line.parts.some(([a, b]) => found.pairs.some(([c, d]) => a === c && b === d));
  }

  function draw(width) {
    if (!level || !["modules", "layers"].includes(level)) return;
    const {nodes, lines, columns} = shown = picture();
    const lanes = Math.max(1, ...nodes.map((node) => node.lane + 1)), step = Math.max(46, Math.min(170, (width - 60) / Math.max(columns - 1, 1)));
    const full = shown.full = step * (columns - 1) + 60, most = Math.max(...nodes.map((node) => node.units), 1), room = (HEIGHT - 150) / lanes;
    const tall = (units) => units ? Math.max(4, room * .8 * Math.log1p(units) / Math.log1p(most)) : 2;
    const perColumn = new Map();
    nodes.forEach((node) => perColumn.set(node.column, Math.max(perColumn.get(node.column) || 0, node.lane + 1)));
    for (const node of nodes) {
      node.x = 30 + step * node.column;
      node.height = tall(node.units);
      node.y = HEIGHT / 2 - 10 + room * (node.lane - (perColumn.get(node.column) - 1) / 2);
    }
    const fit = Math.min(1, width / (full + 30)), scale = Math.max(fit, .35); // what does not fit is scrolled sideways
    box.replaceChildren();
    const svg = d3.select(box).append("svg").attr("width", Math.max(width, (full + 30) * scale)).attr("height", HEIGHT).attr("role", "img").attr("aria-label", `The flow of ${nodes.length} ${level}; the tables below have its numbers.`);
    const all = svg.append("g");
    const heavy = Math.max(...lines.map((line) => line.active), 1), thick = (line) => .8 + 8 * Math.log1p(line.active) / Math.log1p(heavy);
    const path = (line) => {
      const a = nodes[line.a], b = nodes[line.b], span = b.column - a.column, x0 = a.x + 7, x1 = b.x - 7;
      const lift = span > 1 ? -Math.min(HEIGHT / 2 - 20, 34 + 12 * span + a.height / 2) : span < 1 ? 60 : 0;
      return `M${x0},${a.y}C${x0 + (x1 - x0) * .35},${a.y + lift * 1.3} ${x1 - (x1 - x0) * .35},${b.y + lift * 1.3} ${x1},${b.y}`;
    };
    all.append("g").selectAll("path").data(lines).join("path").attr("class", (line) => `line${line.wires ? " wires" : ""}${line.active ? "" : " empty"}${marked(line) ? " marked" : ""}`)
      .attr("d", path).attr("stroke-width", thick).classed("faded", (line) => fragile !== "none" && !marked(line))
      .on("pointermove", (event, line) => page.say(event, `${nodes[line.a].name} → ${nodes[line.b].name}\n${count(line.active)} of ${count(line.kept)} ${line.wires ? "wires" : "connections and wires"} active`)).on("pointerleave", (event) => page.say(event, ""));
    if (step >= 120) all.append("g").selectAll("text").data(lines.filter((line) => nodes[line.b].column - nodes[line.a].column === 1)).join("text").attr("x", (line) => (nodes[line.a].x + nodes[line.b].x) / 2).attr("y", (line) => (nodes[line.a].y + nodes[line.b].y) / 2 - 8 - thick(line) / 2).attr("text-anchor", "middle").text((line) => `${count(line.active)} of ${count(line.kept)}`);
    const marks = all.append("g").selectAll("g").data(nodes).join("g").attr("class", "node").classed("chosen", (node) => node.layers.includes(chosen)).attr("transform", (node) => `translate(${node.x - 7},${node.y - node.height / 2})`);
    marks.each(function (node) {
      let top = 0;
      node.states.forEach((value, s) => {
        const part = node.units ? node.height * value / node.units : 0;
        if (value) d3.select(this).append("rect").attr("class", STATES[s]).attr("y", top).attr("width", 14).attr("height", Math.max(part, .5));
        top += part;
      });
    });
    marks.append("rect").attr("class", "frame").attr("x", -2.5).attr("y", -2.5).attr("width", 19).attr("height", (node) => node.height + 5);
    const short = (node) => { const parts = node.name.split("."); let text = focus !== null ? node.name.slice(focus.name.length + 1) || node.name : parts.slice(-2).join("."); const most = step < 70 ? 14 : 22; if (text.length > most) text = parts[parts.length - 1]; return text.length > most ? `${text.slice(0, most - 1)}…` : text; };
    const steep = step < 110, every = Math.ceil(17 / (step * scale));
    marks.filter((node) => !steep || node.column % every === 0).append("text").style("font-size", `${11 / scale}px`).attr("transform", (node) => steep ? `translate(10,${node.height + 12}) rotate(40)` : `translate(7,${node.height + 15})`).attr("text-anchor", steep ? "start" : "middle").text(short);
    marks.on("click", (event, node) => choose(node)).on("dblclick", (event, node) => { event.stopPropagation(); open(node); })
      .on("pointermove", (event, node) => page.say(event, words(node))).on("pointerleave", (event) => page.say(event, ""));
    zooming = zoomable(svg, (transform) => all.attr("transform", transform));
    zooming.home = d3.zoomIdentity.translate(fit < 1 ? 0 : (width - full) / 2, HEIGHT / 2 * (1 - scale)).scale(scale);
    zooming.go(zooming.home);
    say();
  }

  const words = (node) => `${node.name}\n${count(node.units)} units${node.layers.length > 1 ? ` in ${node.layers.length} layers` : ` (${data.operations[node.layers[0]]})`}\n${STATES.map((state, s) => `${count(node.states[s])} ${state}`).join(", ")}`;

  // A mouse drags the picture; Ctrl and the wheel zoom it. Two fingers zoom it, and scroll the page where they move
  // together; one finger scrolls the page, or moves the picture while that is zoomed in.
  function zoomable(selection, act) {
    let scale = 1, before = null;
    const accepts = (event) => event.type === "wheel" ? event.ctrlKey || event.metaKey
      : event.type.startsWith("touch") ? event.touches.length > 1 || scale > 1.01 * zooming.home.k : !event.button;
    const behaviour = d3.zoom().scaleExtent([.05, 40]).filter(accepts).on("zoom", (event) => { scale = event.transform.k; act(event.transform); });
    selection.on("touchstart.page touchmove.page touchend.page", (event) => {
      const now = event.touches.length > 1 ? [event.touches[0].clientY, event.touches[1].clientY] : null;
      const [one, other] = event.type === "touchmove" && now && before ? now.map((place, n) => before[n] - place) : [0, 0];
      if (one * other > 0) scrollBy(0, Math.abs(one) < Math.abs(other) ? one : other);
      before = now;
    }).call(behaviour).on("dblclick.zoom", null);
    return {go: (transform) => selection.call(behaviour.transform, transform), by: (factor) => selection.call(behaviour.scaleBy, factor), move: (x, y) => selection.call(behaviour.translateBy, x, y), home: d3.zoomIdentity};
  }

  const link = (text, act) => {
    const button = make("button", {type: "button", class: "link"}, text);
    button.addEventListener("click", act);
    return button;
  };
  const has = (name) => Boolean(buttons.querySelector(`[data-level=${name}]`));
  const inner = () => ["layers", "channels", "units"].slice(level === "modules" ? 0 : 1).filter(has);

  function choose(node) {
    chosen = node.layers[0];
    const around = box.scrollWidth > box.clientWidth ? box.querySelector("svg").getBoundingClientRect() : null;
    if (around) box.scrollLeft = node.x / shown.full * around.width - box.clientWidth / 2;
    d3.selectAll("#flow-picture .node").classed("chosen", (each) => each === node);
    below.replaceChildren(...[words(node).replaceAll("\n", ", "), ". "]);
    for (const name of inner()) if (name !== "layers" || node.layers.length > 1) below.append(link(`Open its ${name}`, () => open(node, name)), " ");
    const known = node.layers.find((layer) => data.names[layer] in parameters);
    if (known !== undefined && (level !== "modules" || node.layers.length === 1)) page.choose(parameters[data.names[known]], "flow");
  }

  // Go into a module or a layer: its layers, else the channels or units that it is made of.
  function open(node, to) {
    const next = to || inner().find((name) => name !== "layers" || node.layers.length > 1);
    if (!next) return;
    focus = {name: node.name, layers: new Set(node.layers)};
    below.replaceChildren();
    set(next);
  }

  // Back from a layer to its module, and from a module to all.
  function close() {
    const module = focus && focus.layers.size === 1 ? data.modules[[...focus.layers][0]] : null, layers = groups.length < data.names.length && module !== null ? data.modules.map((each, n) => each === module ? n : -1).filter((n) => n >= 0) : [];
    focus = layers.length > 1 ? {name: module, layers: new Set(layers)} : null;
    set(focus || !has("modules") ? "layers" : "modules");
  }

  function say() {
    told({modules: `${groups.length} modules`, layers: focus === null ? `${data.names.length} layers` : `The ${shown.nodes.length} layers of ${focus.name}`}[level]);
  }
  function told(text) {
    said.replaceChildren(text, ...(focus === null ? [] : [" ", link(`Show all ${level}`, () => { focus = null; set(level); })]));
  }

  function set(value) {
    level = value;
    document.querySelectorAll("#flow-levels button").forEach((button) => button.setAttribute("aria-pressed", button.dataset.level === level));
    if (level === "modules" || level === "layers") draw(box.clientWidth); else zooming = flow.fine(level, focus);
  }

  const buttons = document.getElementById("flow-levels");
  for (const button of buttons.querySelectorAll("button")) if (["channels", "units"].includes(button.dataset.level) && !data.levels[button.dataset.level]) button.remove();
  page.choices(buttons, "level", (value) => {
    if (value === "modules" || (value === "layers" && focus && focus.layers.size === 1)) focus = null;
    set(value);
  });
  document.getElementById("flow-zoom").addEventListener("click", (event) => zoom(event.target.dataset.zoom));
  function zoom(way) { if (way === "fit") zooming.go(zooming.home); else if (way) zooming.by(way === "in" ? 1.6 : 1 / 1.6); }

  const kinds = Object.keys(data.fragile), chooser = document.getElementById("flow-fragile");
  if (kinds.length) {
    chooser.hidden = false;
    for (const kind of ["none", ...kinds]) chooser.append(make("button", {type: "button", "data-fragile": kind, "aria-pressed": kind === "none"}, kind === "none" ? "flow alone" : data.fragile[kind].title.toLowerCase()));
    page.choices(chooser, "fragile", (value) => { fragile = value; set(level); });
    document.querySelectorAll("[data-show]").forEach((button) => button.addEventListener("click", () => {
      chooser.querySelector(`[data-fragile="${button.dataset.show}"]`).click();
      document.getElementById("flow").scrollIntoView();
    }));
  }

  box.addEventListener("keydown", (event) => {
    if (event.key === "+" || event.key === "-") { zoom(event.key === "+" ? "in" : "out"); return; }
    if (event.key === "Escape") { if (focus) close(); return; }
    const [across, down] = {ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1]}[event.key] || [0, 0];
    if (!["modules", "layers"].includes(level)) {
      if (across || down) { event.preventDefault(); zooming.move(-40 * across, -40 * down); }
      return;
    }
    const at = shown.nodes.findIndex((node) => node.layers.includes(chosen));
    if (event.key === "Enter" && at >= 0) open(shown.nodes[at]);
    if (!across) return;
    event.preventDefault();
    choose(shown.nodes[Math.max(0, Math.min(shown.nodes.length - 1, at + across))]);
  });
  page.on("choose", (number, from) => {
    if (from === "flow" || !["modules", "layers"].includes(level)) return;
    const layer = data.names.indexOf(page.data.layers.names[number].replace(/\.[^.]*$/, ""));
    if (layer >= 0) { chosen = layer; d3.selectAll("#flow-picture .node").classed("chosen", (node) => node.layers.includes(layer)); }
  });
  page.drawn(box, (width) => { if (level === "modules" || level === "layers") draw(width); else if (level) zooming = flow.fine(level, focus); });
  addEventListener("DOMContentLoaded", () => set(buttons.querySelector("[data-level=modules]") && data.names.length > 40 ? "modules" : "layers"));
  return {zoomable, box, told, get fragile() { return data.fragile[fragile]; }, fine: null};
})();
