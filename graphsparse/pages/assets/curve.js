// Effective against direct compression, both logarithmic, a line for each ranking.
{
  const {lines, point} = page.data.curve, box = document.getElementById("curve-picture");
  const COLOURS = ["alive", "dead", "stranded", "starved", "constant"], DASHES = ["", "7 4", "2 3", "9 3 2 3", "4 2"];
  const times = (value) => `${value >= 100 ? page.count(value) : +value.toPrecision(3)}×`;

  page.drawn(box, (room) => {
    const width = Math.min(room, 720), height = Math.min(400, Math.max(280, width * .56)), margin = {top: 10, right: 92, bottom: 40, left: 72};
    const every = Object.values(lines), least = Math.min(1, ...every.map((line) => Math.min(...line.direct, ...line.effective)));
    const x = d3.scaleLog([Math.max(.9, Math.min(...every.map((line) => line.direct[0]), point.direct || Infinity) * .8), Math.max(2, ...every.map((line) => line.direct[line.direct.length - 1]))], [margin.left, width - margin.right]);
    const y = d3.scaleLog([x.domain()[0], Math.max(2, ...every.map((line) => line.effective[line.effective.length - 1]))], [height - margin.bottom, margin.top]);
    d3.select(box).selectAll("svg").remove();
    const svg = d3.select(box).append("svg").attr("width", width).attr("height", height);
    const ticks = (scale, most) => { const all = scale.ticks(), of = (...first) => all.filter((value) => first.includes(+value.toExponential()[0])); const found = [of(1), of(1, 3), of(1, 2, 5), all].find((found) => found.length > 2) || all; return found.filter((_, n) => n % Math.ceil(found.length / most) === 0); };
    svg.append("g").attr("transform", `translate(0,${height - margin.bottom})`).call(d3.axisBottom(x).tickValues(ticks(x, width / 70)).tickFormat(times));
    svg.append("g").attr("transform", `translate(${margin.left},0)`).call(d3.axisLeft(y).tickValues(ticks(y, height / 40)).tickFormat(times).tickSize(margin.left + margin.right - width)).call((axis) => axis.select(".domain").remove());
    svg.append("text").attr("x", (margin.left + width - margin.right) / 2).attr("y", height - 6).attr("text-anchor", "middle").text("direct compression");
    svg.append("text").attr("transform", `translate(11,${(height - margin.bottom) / 2}) rotate(-90)`).attr("text-anchor", "middle").text("effective compression");
    const end = Math.min(x.domain()[1], y.domain()[1]);
    svg.append("line").attr("class", "even").attr("x1", x(x.domain()[0])).attr("y1", y(x.domain()[0])).attr("x2", x(end)).attr("y2", y(end));
    Object.entries(lines).forEach(([name, line], n) => {
      const path = d3.line((_, i) => x(line.direct[i]), (_, i) => y(line.effective[i]));
      svg.append("path").attr("class", `curve ${COLOURS[n % COLOURS.length]}`).attr("stroke-dasharray", DASHES[n % DASHES.length]).attr("d", path(line.direct));
      const last = line.direct.length - 1;
      svg.append("text").attr("x", x(line.direct[last]) + 7).attr("y", y(line.effective[last]) + 4).text(name);
    });
    if (point.active) {
      svg.append("circle").attr("class", "point").attr("cx", x(point.direct)).attr("cy", y(point.effective)).attr("r", 5.5);
      svg.append("text").attr("class", "strong").attr("x", x(point.direct) + 10).attr("y", y(point.effective) + 14).text(`${times(point.direct)} direct, ${times(point.effective)} effective`);
    }
    const guide = svg.append("line").attr("class", "even").attr("y1", margin.top).attr("y2", height - margin.bottom).attr("visibility", "hidden");
    svg.on("pointermove", (event) => {
      const at = x.invert(d3.pointer(event)[0]);
      const found = Object.entries(lines).map(([name, line]) => { const n = line.direct.findIndex((value) => value >= at); return n < 0 ? null : `${name}: ${times(line.direct[n])} direct, ${times(line.effective[n])} effective (${page.count(line.active[n])} of ${page.count(line.kept[n])} active)`; }).filter(Boolean);
      guide.attr("visibility", found.length ? "visible" : "hidden").attr("x1", x(at)).attr("x2", x(at));
      page.say(event, found.join("\n"));
    }).on("pointerleave", (event) => { guide.attr("visibility", "hidden"); page.say(event, ""); });
  })();
}
