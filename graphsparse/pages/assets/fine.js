// Channels and single units as points and lines on a canvas, drawn piece by piece so that the page never waits.
{
  const data = page.data.flow, {count} = page, {box, said} = flow;
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

  // Points in a box of 1 by 1, and edges as pairs of points with 1 where one is active.
  function unpacked(name) {
    if (cache[name]) return cache[name];
    const level = data.levels[name], columns = Math.max(...data.columns) + 1, most = Math.max(...level.sizes, 1);
    const lanes = data.columns.map((column) => data.columns.filter((each) => each === column).length);
    const points = [], edges = [], next = numbers(level.nodes);
    let layer = 0, at = 0;
    for (let step = next.next(); !step.done; step = next.next()) {
      if (step.value || !points.length) { layer += step.value; at = 0; }
      const fresh = points.length === 0 || points[points.length - 1].layer !== layer;
      at = fresh ? next.next().value : at + next.next().value;
      const state = next.next().value, size = level.sizes[layer], tall = Math.max(.12, Math.sqrt(size / most)) / lanes[layer];
      const middle = (data.lanes[layer] + .5) / lanes[layer];
      points.push({layer, at, state, x: columns > 1 ? data.columns[layer] / (columns - 1) : .5, y: middle + tall * .94 * ((at + .5) / size - .5)});
    }
    const reach = numbers(level.reach);
    let source = 0;
    for (const leaving of numbers(level.leaving)) {
      let target = 0;
      for (let n = 0; n < leaving; n++) { const value = reach.next().value; target += Math.floor(value / 2); edges.push([source, target, value % 2]); }
      source++;
    }
    const rest = edges.filter((edge) => !edge[2]);
    return cache[name] = {...level, points, edges: [...rest, ...edges.filter((edge) => edge[2])], dead: rest.length};
  }

  function words(level, point) {
    const per = level.per[point.layer], first = point.at * per, last = Math.min(first + per, (level.channels || level.sizes)[point.layer]) - 1;
    return `${data.names[point.layer]}\n${level.what}${first === last ? ` ${first}` : `s ${first} to ${last}, the best of them`}: ${STATES[point.state]}`;
  }

  flow.fine = (name) => {
    const level = unpacked(name), width = box.clientWidth, ratio = Math.min(devicePixelRatio || 1, 2);
    const canvas = page.make("canvas", {role: "img", "data-edges": level.edges.length, "data-points": level.points.length,
      "aria-label": `${level.points.length} ${level.what}s and ${level.edges.length} edges, ${level.active} of them active. The tables below have the layers.`});
    canvas.width = width * ratio; canvas.height = HEIGHT * ratio;
    canvas.style.width = `${width}px`; canvas.style.height = `${HEIGHT}px`;
    box.replaceChildren(canvas);
    const context = canvas.getContext("2d"), inner = {left: 16, top: 30, width: width - 32, height: HEIGHT - 44};
    const binned = level.per.some((per) => per > 1);
    said.textContent = `${count(level.points.length)} ${binned ? `bins of ${level.what}s` : `${level.what}s`} that have an edge, ${count(level.edges.length)} edges, ${count(level.active)} active; orange: kept, but not active`;
    const place = (point) => [inner.left + inner.width * point.x, inner.top + inner.height * point.y];
    const tree = d3.quadtree(level.points, (point) => place(point)[0], (point) => place(point)[1]);
    let transform = d3.zoomIdentity;

    function draw() {
      const mine = ++turn, colours = Object.fromEntries([...STATES, "dead", "quiet", "ground", "severe", "text"].map((name) => [name, page.colour(name)]));
      const strong = new Set(((name === "units" && flow.fragile?.units) || []).map(([a, b]) => `${a} ${b}`));
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.fillStyle = colours.ground;
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.setTransform(ratio * transform.k, 0, 0, ratio * transform.k, ratio * transform.x, ratio * transform.y);
      canvas.dataset.drawn = "no";
      const thin = Math.max(.02, Math.min(.6, 1500 / level.edges.length)) ** .6;
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
      const dot = Math.max(.8, Math.min(3, 500 / Math.max(...level.sizes))) / Math.sqrt(transform.k);
      for (const point of level.points) {
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
      data.names.forEach((name, layer) => {
        if (data.lanes[layer]) return;
        const x = transform.applyX(place({x: Math.max(...data.columns) ? data.columns[layer] / Math.max(...data.columns) : .5, y: 0})[0]);
        const text = name.split(".").slice(-2).join(".").slice(-18), long = context.measureText(text).width, left = Math.max(2, Math.min(width - long - 2, x - long / 2));
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
