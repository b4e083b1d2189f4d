// Channels and single units as points and lines on a canvas, drawn piece by piece so that the page never waits.
{
  const data = page.data.flow, {count} = page, {box} = flow;
  const STATES = ["alive", "constant", "starved", "stranded"], HEIGHT = 460, PIECE = 3000, cache = {};
  let turn = 0;

  function* numbers(text) {
    const bytes = atob(text);
    for (let at = 0; at < bytes.length;) {
      let value = 0, scale = 1, byte;
      do { byte = bytes.charCodeAt(at++); value += (byte & 127) * scale; scale *= 128; } while (byte & 128);
      yield value;
    }
  }

  // Points by layer and place, and edges as pairs of points with 1 where one is active.
  function unpacked(name) {
    if (cache[name]) return cache[name];
    const level = data.levels[name], points = [], edges = [], next = numbers(level.nodes);
    let layer = 0, at = 0;
    for (let step = next.next(); !step.done; step = next.next()) {
      if (step.value || !points.length) { layer += step.value; at = 0; }
      const fresh = points.length === 0 || points[points.length - 1].layer !== layer;
      at = fresh ? next.next().value : at + next.next().value;
      points.push({layer, at, state: next.next().value});
    }
    const reach = numbers(level.reach);
    let source = 0;
    for (const leaving of numbers(level.leaving)) {
      let target = 0;
      for (let n = 0; n < leaving; n++) { const value = reach.next().value; target += Math.floor(value / 2); edges.push([source, target, value % 2]); }
      source++;
    }
    const rest = edges.filter((edge) => !edge[2]);
    return cache[name] = {...level, points, edges: [...rest, ...edges.filter((edge) => edge[2])]};
  }

  // Those edges that lead into some layers, or all; their points get places in a box of 1 by 1.
  function part(name, into) {
    const level = unpacked(name), edges = into ? level.edges.filter(([, target]) => into.has(level.points[target].layer)) : level.edges;
    const used = new Set(into ? edges.flatMap(([source, target]) => [source, target]) : level.points.keys());
    if (into) level.points.forEach((point, n) => { if (into.has(point.layer)) used.add(n); });
    const layers = [...new Set([...used].map((n) => level.points[n].layer))].sort((a, b) => a - b);
    const columns = [...new Set(layers.map((layer) => data.columns[layer]))].sort((a, b) => a - b), most = Math.max(...layers.map((layer) => level.sizes[layer]), 1);
    const places = new Map(layers.map((layer) => {
      const beside = layers.filter((each) => data.columns[each] === data.columns[layer]);
      return [layer, {x: columns.length > 1 ? columns.indexOf(data.columns[layer]) / (columns.length - 1) : .5, lane: beside.indexOf(layer), lanes: beside.length}];
    }));
    const points = level.points.map((point, n) => {
      if (!used.has(n)) return point;
      const {x, lane, lanes} = places.get(point.layer), size = level.sizes[point.layer], tall = Math.max(.12, Math.sqrt(size / most)) / lanes;
      return {...point, x, y: (lane + .5) / lanes + tall * .94 * ((point.at + .5) / size - .5)};
    });
    const active = edges.reduce((sum, edge) => sum + edge[2], 0);
    return {...level, points, shown: [...used].map((n) => points[n]), edges, dead: edges.length - active, active, places, most, gaps: Math.max(columns.length - 1, 1)};
  }

  function words(level, point) {
    const per = level.per[point.layer], first = point.at * per, last = Math.min(first + per, (level.channels || level.sizes)[point.layer]) - 1;
    return `${data.names[point.layer]}\n${level.what}${first === last ? ` ${first}` : `s ${first} to ${last}, the best of them`}: ${STATES[point.state]}`;
  }

  flow.fine = (name, focus) => {
    const level = part(name, focus && focus.layers), width = box.clientWidth, ratio = Math.min(devicePixelRatio || 1, 2);
    const canvas = page.make("canvas", {role: "img", "data-edges": level.edges.length, "data-points": level.shown.length,
      "aria-label": `${focus ? `${focus.name}: ` : ""}${level.shown.length} ${level.what}s and ${level.edges.length} edges, ${level.active} of them active. The tables below have the layers.`});
    canvas.width = width * ratio; canvas.height = HEIGHT * ratio;
    canvas.style.width = `${width}px`; canvas.style.height = `${HEIGHT}px`;
    box.replaceChildren(canvas);
    const context = canvas.getContext("2d"), inner = {left: 16, top: 30, width: width - 32, height: HEIGHT - 44};
    const binned = [...level.places.keys()].some((layer) => level.per[layer] > 1);
    flow.told(`${focus ? `What leads into ${focus.name}: ` : ""}${count(level.shown.length)} ${binned ? `bins of ${level.what}s` : `${level.what}s`} that have an edge, ${count(level.edges.length)} edges, ${count(level.active)} active; orange: kept, but not active`);
    const place = (point) => [inner.left + inner.width * point.x, inner.top + inner.height * point.y];
    const tree = d3.quadtree(level.shown, (point) => place(point)[0], (point) => place(point)[1]);
    let transform = d3.zoomIdentity;

    function draw() {
      const mine = ++turn, colours = Object.fromEntries([...STATES, "dead", "quiet", "ground", "severe", "text"].map((name) => [name, page.colour(name)]));
      const strong = new Set(((name === "units" && flow.fragile?.units) || []).map(([a, b]) => `${a} ${b}`));
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.fillStyle = colours.ground;
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.setTransform(ratio * transform.k, 0, 0, ratio * transform.k, ratio * transform.x, ratio * transform.y);
      canvas.dataset.drawn = "no";
      const thin = Math.max(.02, Math.min(.6, 120 * level.gaps / Math.max(level.edges.length, 1))) ** .6;
      let at = 0;
      const piece = () => {
        if (mine !== turn) return;
        const stop = Math.min(at + PIECE, level.edges.length);
        context.lineWidth = .7 / transform.k;
        for (; at < stop;) {
          const active = at >= level.dead, end = active ? stop : Math.min(stop, level.dead);
          context.strokeStyle = active ? colours.alive : colours.dead;
          context.globalAlpha = strong.size ? thin * .25 : thin;
          context.beginPath();
          for (; at < end; at++) {
            const [a, b] = level.edges[at];
            context.moveTo(...place(level.points[a])); context.lineTo(...place(level.points[b]));
          }
          context.stroke();
        }
        if (at < level.edges.length) requestAnimationFrame(piece); else finish(colours, strong);
      };
      piece();
    }

    function finish(colours, strong) {
      context.globalAlpha = 1;
      const dot = Math.max(.8, Math.min(3, 500 / level.most)) / Math.sqrt(transform.k);
      for (const point of level.shown) {
        const [x, y] = place(point);
        context.fillStyle = colours[STATES[point.state]];
        context.fillRect(x - dot, y - dot, 2 * dot, 2 * dot);
      }
      if (strong.size) {
        context.strokeStyle = colours.severe; context.lineWidth = 2 / transform.k;
        context.beginPath();
        const starts = data.units.reduce((sums, size) => [...sums, sums[sums.length - 1] + size], [0]), id = (point) => starts[point.layer] + point.at;
        for (const [a, b] of level.edges) if (strong.has(`${id(level.points[a])} ${id(level.points[b])}`)) { context.moveTo(...place(level.points[a])); context.lineTo(...place(level.points[b])); }
        context.stroke();
      }
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.fillStyle = colours.quiet; context.font = "11px system-ui, sans-serif";
      let right = -Infinity;
      level.places.forEach(({x: at, lane}, layer) => {
        if (lane) return;
        const x = transform.applyX(place({x: at, y: 0})[0]), name = data.names[layer];
        const end = name.split(".").slice(-2).join("."), text = end.length > 18 ? `…${end.slice(-17)}` : end, long = context.measureText(text).width, left = Math.max(2, Math.min(width - long - 2, x - long / 2));
        if (x < -5 || x > width + 5 || left < right + 10) return;
        context.fillText(text, left, 14);
        right = left + long;
      });
      canvas.dataset.drawn = "yes";
    }

    canvas.addEventListener("pointermove", (event) => {
      const area = canvas.getBoundingClientRect(), point = tree.find(...transform.invert([event.clientX - area.left, event.clientY - area.top]), 8 / transform.k);
      page.say(event, point ? words(level, point) : "");
    });
    canvas.addEventListener("pointerleave", (event) => page.say(event, ""));
    const zooming = flow.zoomable(d3.select(canvas), (value) => { transform = value; draw(); });
    draw();
    return zooming;
  };
}
