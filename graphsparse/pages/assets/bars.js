// Bars of direct and effective density by layer, linked with the table.
{
  const {names, columns} = page.data.layers;
  const box = document.getElementById("bars"), height = 190, margin = {top: 8, right: 6, bottom: 22, left: 46};
  const direct = columns.connections.map((all, n) => all ? columns.kept[n] / all : 0);
  const effective = columns.active ? columns.connections.map((all, n) => all ? columns.active[n] / all : 0) : null;
  let kind = "log";

  function words(n) {
    const lines = [names[n], `${page.count(columns.kept[n])} of ${page.count(columns.connections[n])} kept (${page.share(direct[n])})`];
    if (effective) lines.push(`${page.count(columns.active[n])} active (${page.share(effective[n])})`);
    return lines.join("\n");
  }

  const draw = page.drawn(box, (room) => {
    const width = Math.max(room, margin.left + margin.right + 4 * names.length);
    const least = Math.min(...[...direct, ...(effective || [])].filter((value) => value > 0), .5);
    const y = (kind === "log" ? d3.scaleLog([10 ** Math.floor(Math.log10(least)), 1], [height - margin.bottom, margin.top]) : d3.scaleLinear([0, 1], [height - margin.bottom, margin.top]));
    const x = d3.scaleBand(names.map((_, n) => n), [margin.left, Math.min(width - margin.right, margin.left + 110 * names.length)]).paddingInner(names.length > 80 ? .15 : .3).paddingOuter(.15);
    const top = (value) => value > 0 ? y(value) : height - margin.bottom;
    const bottom = height - margin.bottom, wide = Math.min(x.bandwidth(), 44), inset = (x.bandwidth() - wide) / 2;
    d3.select(box).selectAll("svg").remove();
    const svg = d3.select(box).append("svg").attr("width", width).attr("height", height).attr("aria-hidden", "true");
    const ticks = kind === "log" ? y.ticks(6).filter((value) => Number.isInteger(Math.log10(value))) : y.ticks(5);
    svg.append("g").attr("transform", `translate(${margin.left},0)`).call(d3.axisLeft(y).tickValues(ticks).tickFormat((value) => `${+(100 * value).toPrecision(2)} %`).tickSize(margin.left + margin.right - width)).call((axis) => axis.select(".domain").remove());
    const group = svg.selectAll("g.layer").data(names).join("g").attr("class", "layer").attr("transform", (_, n) => `translate(${x(n) + inset},0)`);
    group.append("rect").attr("class", "kept").attr("width", wide).attr("y", (_, n) => top(direct[n])).attr("height", (_, n) => bottom - top(direct[n]));
    if (effective) {
      group.append("rect").attr("class", "alive").attr("width", wide).attr("y", (_, n) => top(effective[n])).attr("height", (_, n) => bottom - top(effective[n]));
      group.filter((_, n) => effective[n] === 0 && columns.connections[n] > 0).append("text").attr("class", "severe").attr("x", wide / 2).attr("y", bottom - 3).attr("text-anchor", "middle").text("✕");
    }
    svg.append("g").selectAll("rect").data(names.keys()).join("rect").attr("class", (n) => `band${n === page.chosen ? " chosen" : ""}`)
      .attr("x", (n) => x(n) - (x.step() - x.bandwidth()) / 2).attr("width", x.step()).attr("y", margin.top).attr("height", height - margin.top)
      .on("click", (event, n) => page.choose(n, "bars")).on("pointermove", (event, n) => page.say(event, words(n))).on("pointerleave", (event) => page.say(event, ""));
    const every = Math.ceil((names.length > 99 ? 34 : 24) / x.step());
    svg.append("g").selectAll("text").data(names.map((_, n) => n).filter((n) => n % every === 0)).join("text").attr("x", (n) => x(n) + x.bandwidth() / 2).attr("y", height - 7).attr("text-anchor", "middle").text((n) => n + 1);
  });
  draw();

  box.addEventListener("keydown", (event) => {
    const step = {ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity}[event.key];
    if (step === undefined) return;
    event.preventDefault();
    page.choose(Math.max(0, Math.min(names.length - 1, page.chosen + step)), "bars");
  });
  page.choices(box.closest("figure").querySelector(".choices"), "scale", (value) => { kind = value; draw(); });
  page.on("choose", (number) => d3.select(box).selectAll(".band").classed("chosen", (n) => n === number));
}
