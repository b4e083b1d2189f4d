// What all parts of the page share: its data, which layer is chosen, colours, and the box beside the pointer.
const page = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const listeners = {choose: [], theme: []};
  let chosen = -1;

  const on = (event, listener) => listeners[event].push(listener);
  const emit = (event, ...values) => listeners[event].forEach((listener) => listener(...values));

  function choose(number, from) {
    if (number === chosen || !(number >= 0 && number < data.layers?.names.length)) return;
    chosen = number;
    emit("choose", number, from);
  }

  // An element with attributes and children; text is always text, whatever it holds.
  function make(name, attributes = {}, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }

  const tip = make("div", {class: "tip", "aria-hidden": "true", hidden: ""});
  document.body.append(tip);
  function say(event, text) {
    tip.hidden = !text;
    if (!text) return;
    tip.textContent = text;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 8))}px`;
    tip.style.top = `${event.clientY + 18 + box.height > innerHeight ? event.clientY - box.height - 10 : event.clientY + 18}px`;
  }

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const count = (value) => Math.round(value).toLocaleString("en-US");
  const share = (value) => value > 0 && value < .001 ? "under 0.1 %" : value > .999 && value < 1 ? "over 99.9 %" : `${(100 * value).toFixed(value === 0 || value === 1 ? 0 : 1)} %`;

  // One of several buttons is pressed; `act` gets its value.
  function choices(group, key, act) {
    const buttons = [...group.querySelectorAll("button")];
    buttons.forEach((button) => button.addEventListener("click", () => {
      buttons.forEach((other) => other.setAttribute("aria-pressed", other === button));
      act(button.dataset[key]);
    }));
  }

  // Draw now, and again when the element gets another width or the theme changes.
  function drawn(element, draw) {
    let width = -1, wide = false;
    const again = () => { width = element.clientWidth; draw(width); };
    new ResizeObserver(() => { if (element.clientWidth !== width) again(); }).observe(element);
    on("theme", again);
    return again;
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => emit("theme"));
  matchMedia("print").addEventListener("change", () => emit("theme"));
  const follow = () => { const found = location.hash.match(/^#layer-(\d+)$/); if (found) choose(Number(found[1]), "link"); };
  addEventListener("hashchange", follow);
  addEventListener("DOMContentLoaded", follow);
  document.documentElement.classList.add("live");
  return {data, on, choose, make, say, colour, count, share, choices, drawn, get chosen() { return chosen; }};
})();
