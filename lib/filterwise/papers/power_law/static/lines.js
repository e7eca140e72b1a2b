// A fitted line on log-log axes, and a target error that pointer and slider move.
window.filterwiseLines = window.filterwiseLines || (function () {
  "use strict";

  const WIDTH = 640, HEIGHT = 330, LEFT = 58, RIGHT = 12, TOP = 10, BOTTOM = 44;

  function shape(name, attributes, text) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
    if (text !== undefined) made.textContent = text;
    return made;
  }

  // From a logarithmic range to pixels, and back.
  function axis(low, high, from, to) {
    const a = Math.log(low), b = Math.log(high);
    return {
      at: (value) => from + (to - from) * Math.min(1, Math.max(0, (Math.log(value) - a) / (b - a))),
      value: (pixel) => Math.exp(a + (b - a) * (pixel - from) / (to - from)),
    };
  }

  function axes(content, line) {
    const widths = line.band.map((row) => row[0]);
    const errors = content.lines.flatMap((each) => each.measured.map((point) => point[1]));
    const low = Math.min(...content.errors), high = Math.max(...errors, ...content.errors);
    return {
      x: axis(widths[0], widths[widths.length - 1], LEFT, WIDTH - RIGHT),
      y: axis(low / 1.15, high * 1.1, HEIGHT - BOTTOM, TOP),
    };
  }

  // The position of the slider whose error is nearest, on a logarithmic axis.
  function nearest(errors, value) {
    const far = errors.map((error) => Math.abs(Math.log(error / value)));
    return far.indexOf(Math.min(...far));
  }

  function draw(svg, content, line, place) {
    const { x, y } = axes(content, line), parts = [], bottom = HEIGHT - BOTTOM;
    const add = (name, attributes, text) => parts.push(shape(name, attributes, text));
    const path = (rows) => rows.map(([a, b], i) => (i ? "L" : "M") + x.at(a).toFixed(1) + " " + y.at(b).toFixed(1)).join("");
    const fitted = Math.max(...line.measured.map((point) => point[0]));
    const widest = Math.max(fitted, ...line.heldOut.map((point) => point[0]));
    add("rect", { class: "fw-beyond", x: x.at(widest), y: TOP, width: WIDTH - RIGHT - x.at(widest), height: bottom - TOP });
    add("text", { class: "fw-end", x: WIDTH - RIGHT - 6, y: TOP + 16 }, "not measured");
    for (let width = 10; width <= 1e6; width *= 10) {
      if (width < line.band[0][0]) continue;
      add("line", { class: "fw-tick", x1: x.at(width), x2: x.at(width), y1: TOP, y2: bottom });
      add("text", { class: "fw-middle", x: x.at(width), y: bottom + 17 }, width < 1e4 ? width : "10" + "⁴⁵⁶"[Math.log10(width) - 4]);
    }
    [0.01, 0.02, 0.05, 0.1, 0.2, 0.5].forEach((error) => {
      if (y.at(error) <= TOP || y.at(error) >= bottom) return;
      add("line", { class: "fw-tick", x1: LEFT, x2: WIDTH - RIGHT, y1: y.at(error), y2: y.at(error) });
      add("text", { class: "fw-end", x: LEFT - 6, y: y.at(error) + 4 }, error);
    });
    add("text", { class: "fw-middle", x: (LEFT + WIDTH) / 2, y: HEIGHT - 6 }, "filters of the first layer, d₁");
    add("text", { x: 2, y: TOP + 12 }, "error");
    add("path", { class: "fw-band", d: path(line.band.map((row) => [row[0], row[3]])) +
      path([...line.band].reverse().map((row) => [row[0], row[2]])).replace("M", "L") + "Z" });
    const middle = line.band.map((row) => [row[0], row[1]]);
    const inside = middle.filter((row) => row[0] <= fitted), outside = middle.slice(Math.max(0, inside.length - 1));
    add("path", { class: "fw-line", d: path(inside) });
    add("path", { class: "fw-line fw-guess", d: path(outside) });
    line.measured.forEach(([width, error]) => add("circle", { class: "fw-point", cx: x.at(width), cy: y.at(error), r: 4.5 }));
    line.heldOut.forEach(([width, error]) => add("circle", { class: "fw-point fw-hollow", cx: x.at(width), cy: y.at(error), r: 4.5 }));
    add("line", { class: "fw-axis", x1: LEFT, x2: WIDTH - RIGHT, y1: bottom, y2: bottom });
    add("line", { class: "fw-axis", x1: LEFT, x2: LEFT, y1: TOP, y2: bottom });
    const height = y.at(content.errors[place]), across = x.at(line.widths[place]);
    add("line", { class: "fw-target", x1: LEFT, x2: across, y1: height, y2: height });
    if (across < WIDTH - RIGHT) add("line", { class: "fw-target", x1: across, x2: across, y1: height, y2: bottom });
    add("circle", { class: "fw-handle", "data-fw": "handle", cx: across, cy: height, r: 8 });
    svg.replaceChildren(...parts);
  }

  function start(name, content) {
    document.querySelectorAll('[data-fw-lines="' + name + '"]').forEach((root) => {
      if (!root.dataset.fwStarted) run(root, content);
    });
  }

  function run(root, content) {
    root.dataset.fwStarted = "yes";
    const part = (name) => root.querySelector('[data-fw="' + name + '"]');
    const curve = part("curve"), error = part("error"), plot = part("plot");
    curve.replaceChildren(...content.lines.map((line, place) => {
      const option = document.createElement("option");
      option.value = place;
      option.textContent = line.name;
      return option;
    }));
    curve.value = 0;
    error.max = content.errors.length - 1;
    error.value = content.start;

    function update() {
      const line = content.lines[Number(curve.value)], place = Number(error.value);
      draw(plot, content, line, place);
      part("error-value").textContent = error.ariaValueText = String(content.errors[place]);
      part("summary").textContent = line.says[place];
      plot.setAttribute("aria-label", line.says[place]);
    }

    function drag(event) {
      const frame = plot.getBoundingClientRect();
      const { y } = axes(content, content.lines[Number(curve.value)]);
      error.value = nearest(content.errors, y.value((event.clientY - frame.top) * HEIGHT / frame.height));
      update();
    }

    plot.addEventListener("pointerdown", (event) => {
      plot.setPointerCapture(event.pointerId);
      drag(event);
    });
    plot.addEventListener("pointermove", (event) => {
      if (plot.hasPointerCapture(event.pointerId)) drag(event);
    });
    [curve, error].forEach((control) => control.addEventListener("input", update));
    update();
  }

  return { start, nearest };
})();
