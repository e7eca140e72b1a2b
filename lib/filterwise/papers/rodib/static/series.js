// Time series without a kernel: for every kind of delays, M and image the values z(t) that the output unit emits.
window.filterwiseSeries = window.filterwiseSeries || (function () {
  "use strict";

  const { decode, paintImage } = window.filterwisePixels;

  const WIDTH = 460, HEIGHT = 250, LEFT = 14, TOP = 26;

  function counts(nets, kind) {
    return nets.filter((net) => net.kind === kind).map((net) => net.M);
  }

  function find(nets, kind, M) {
    return nets.find((net) => net.kind === kind && net.M === M) || nets.find((net) => net.kind === kind);
  }

  // The label whose instant has the largest value.
  function answer(net, image) {
    const values = net.places.map((place) => net.series[image][place]);
    return values.indexOf(Math.max(...values));
  }

  function shape(name, attributes, text) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
    if (text !== undefined) made.textContent = text;
    return made;
  }

  // Stems from zero, in their order and not to scale: random delays put some instants close together.
  // Instants that carry a label are coloured, and named if there is room for the names.
  function draw(svg, net, image, truth, names) {
    const z = net.series[image];
    const low = Math.min(0, ...z), high = Math.max(0, ...z);
    const x = (at) => LEFT + (WIDTH - 2 * LEFT) * (z.length > 1 ? at / (z.length - 1) : 0.5);
    const y = (value) => TOP + (HEIGHT - 2 * TOP) * (high - value) / (high - low || 1);
    const label = new Map(net.places.map((place, one) => [place, one]));
    const said = answer(net, image), parts = [];
    parts.push(shape("line", { class: "fw-axis", x1: LEFT, x2: WIDTH - LEFT, y1: y(0), y2: y(0) }));
    z.forEach((value, at) => {
      const kind = label.has(at) ? "fw-stem" : "fw-silent";
      parts.push(shape("line", { class: kind, x1: x(at), x2: x(at), y1: y(0), y2: y(value) }));
    });
    label.forEach((one, at) => {
      const own = one === truth ? "fw-true" : "fw-dot";
      parts.push(shape("circle", { class: own, cx: x(at), cy: y(z[at]), r: one === truth ? 6.5 : 4 }));
      if (one === said) parts.push(shape("circle", { class: "fw-ring", cx: x(at), cy: y(z[at]), r: 10 }));
      if (names.length <= 12) {
        const shift = z[at] >= 0 ? -11 : 21;
        parts.push(shape("text", { x: x(at), y: y(z[at]) + shift }, names[one].slice(0, 3)));
      }
    });
    svg.replaceChildren(...parts);
  }

  function start(name, content) {
    document.querySelectorAll('[data-fw-series="' + name + '"]').forEach((root) => {
      if (!root.dataset.fwStarted) run(root, content);
    });
  }

  function run(root, content) {
    root.dataset.fwStarted = "yes";
    const part = (name) => root.querySelector('[data-fw="' + name + '"]');
    const kind = part("kind"), m = part("m"), image = part("image");
    const images = content.images.map(decode);
    const kinds = [...new Set(content.nets.map((net) => net.kind))];
    kind.replaceChildren(...kinds.map((value) => {
      const option = document.createElement("option");
      option.value = option.textContent = value;
      return option;
    }));
    kind.value = content.kind;
    image.max = images.length - 1;

    function update() {
      const known = counts(content.nets, kind.value);
      m.max = known.length - 1;
      const net = find(content.nets, kind.value, known[Number(m.value)]);
      const at = Number(image.value), truth = content.labels[at], said = answer(net, at);
      paintImage(part("picture"), images[at], content.channels);
      draw(part("plot"), net, at, truth, content.names);
      part("m-value").textContent = m.ariaValueText = "M = " + net.M;
      part("kind-value").textContent = net.series[0].length + " output times";
      part("image-value").textContent = image.ariaValueText = content.names[truth];
      const right = said === truth ? "right" : "wrong, it is " + content.names[truth];
      const kindName = net.kind[0].toUpperCase() + net.kind.slice(1);
      const text = kindName + " delays, M = " + net.M + ": " + net.series[0].length + " output times, " +
        net.places.length + " of them carry a label. The largest of these says " + content.names[said] + ", " +
        right + ". Test accuracy " + net.accuracy + ".";
      part("summary").textContent = text;
      part("summary").classList.toggle("fw-wrong", said !== truth);
      part("plot").setAttribute("aria-label", text);
      part("picture").setAttribute("aria-label", "image of " + content.names[truth]);
    }

    [kind, m, image].forEach((control) => control.addEventListener("input", update));
    update();
  }

  return { start, find, counts, answer, decode };
})();
