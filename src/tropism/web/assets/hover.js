// A crosshair that tells every line's value: by pointer, by touch, and by the arrow keys.
"use strict";
(() => {
  const NS = "http://www.w3.org/2000/svg";
  const make = (name, attributes, parent) => {
    const made = document.createElementNS(NS, name);
    for (const key of Object.keys(attributes)) made.setAttribute(key, attributes[key]);
    parent.appendChild(made);
    return made;
  };
  const html = (name, words, parent) => {
    const made = document.createElement(name);
    made.textContent = words;
    parent.appendChild(made);
    return made;
  };

  // Read aloud by its label, a chart needs no tooltip over all of it that would hide those of its parts.
  for (const svg of document.querySelectorAll("svg[role=img]")) {
    const title = svg.querySelector(":scope > title");
    if (title) { svg.setAttribute("aria-label", title.textContent); title.remove(); }
  }

  const equip = (svg) => {
    const told = JSON.parse(svg.dataset.hover);
    const [left, , top, bottom] = svg.dataset.plot.split(" ").map(Number);
    if (!told.points.length || Number.isNaN(left)) return;
    for (const each of svg.querySelectorAll(".targets")) each.remove();
    let layer = null, tip = null, index = told.points.length - 1;

    const hide = () => { if (layer) layer.remove(); if (tip) tip.remove(); layer = tip = null; };
    const show = (at) => {
      hide();
      index = Math.max(0, Math.min(told.points.length - 1, at));
      const [x, when, values] = told.points[index];
      layer = make("g", {"aria-hidden": "true"}, svg);
      make("line", {x1: x, x2: x, y1: top, y2: bottom, class: "cross"}, layer);
      tip = html("div", "", document.body);
      tip.className = "tip";
      tip.setAttribute("role", "status");
      html("b", when, tip);
      values.map((value, k) => [...value, k]).reverse().forEach(([words, y, k]) => {  // what is on top comes first
        const row = html("div", "", tip);
        row.className = "t-" + told.series[k][1];
        html("i", told.series[k][0], row);
        html("span", words, row);
        if (y !== null) make("circle", {cx: x, cy: y, r: 4, class: "at t-" + told.series[k][1]}, layer);
      });
      const box = svg.getBoundingClientRect(), scale = box.width / svg.viewBox.baseVal.width;
      const middle = box.left + x * scale, wide = tip.offsetWidth;
      const beside = middle + 14 + wide < document.documentElement.clientWidth ? middle + 14 : middle - 14 - wide;
      tip.style.left = Math.max(4, beside) + window.scrollX + "px";
      tip.style.top = box.top + top * scale + window.scrollY + "px";
    };
    const nearest = (event) => {
      const box = svg.getBoundingClientRect();
      const x = (event.clientX - box.left) * svg.viewBox.baseVal.width / box.width;
      let best = 0;
      told.points.forEach((point, k) => { if (Math.abs(point[0] - x) < Math.abs(told.points[best][0] - x)) best = k; });
      return best;
    };
    svg.addEventListener("pointermove", (event) => show(nearest(event)));
    svg.addEventListener("pointerdown", (event) => show(nearest(event)));
    svg.addEventListener("pointerleave", hide);
    svg.addEventListener("blur", hide);
    svg.addEventListener("keydown", (event) => {
      const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
      if (step) { event.preventDefault(); show(layer ? index + step : index); }
      if (event.key === "Escape") hide();
    });
  };
  document.querySelectorAll("svg[data-hover]").forEach(equip);
})();
