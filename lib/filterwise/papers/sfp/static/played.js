// One filter a layer, played: the first layer to the last, then still. Row = input label, column = output label.
window.filterwisePlayed = window.filterwisePlayed || (function () {
  "use strict";

  const PAUSE = 1800; // milliseconds a layer
  const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  const KINDS = ["below the threshold", "in a cluster", "noise"];

  function element(kind, name, text) {
    const made = document.createElement(kind);
    if (name) made.className = name;
    if (text) made.textContent = text;
    return made;
  }

  function pictogram(label, name) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
    use.setAttribute("href", "#pict-" + label + "-" + name);
    svg.setAttribute("aria-hidden", "true");
    svg.append(use);
    return svg;
  }

  function start(name, content) {
    document.querySelectorAll('[data-fw-played="' + name + '"]').forEach((root) => {
      if (!root.dataset.fwStarted) run(root, name, content);
    });
  }

  function run(root, name, content) {
    root.dataset.fwStarted = "yes";
    const { labels, layers, threshold } = content;
    const part = (which) => root.querySelector('[data-fw="' + which + '"]');
    const matrix = part("matrix"), at = part("at"), play = part("play"), means = part("means");
    const squares = [];
    const still = window.matchMedia("(prefers-reduced-motion: reduce)");
    let timer = 0;

    matrix.append(element("div", "fw-corner", "pictures of ↓ raise →"));
    labels.forEach((label) => {
      const top = element("div", "fw-top");
      top.title = label;
      top.append(pictogram(label, name));
      matrix.append(top);
    });
    labels.forEach((label, row) => {
      const side = element("div", "fw-name", label);
      side.append(pictogram(label, name));
      matrix.append(side);
      labels.forEach((_, column) => {
        const square = element("div", "fw-square");
        square.dataset.at = row * labels.length + column;
        squares.push(square);
        matrix.append(square);
      });
    });
    const most = Math.max(...layers.map((layer) => layer.mean));
    layers.forEach((layer) => {
      const bar = element("span", "", String(Math.round(layer.mean)));
      bar.style.height = 100 * layer.mean / most + "%";
      means.append(bar);
    });
    at.max = layers.length - 1;

    function show() {
      const place = Number(at.value), layer = layers[place];
      squares.forEach((square, which) => {
        square.dataset.kind = layer.kinds[which];
        square.style.setProperty("--level", layer.levels[which] / 100);
      });
      [...means.children].forEach((bar, which) => bar.classList.toggle("fw-now", which === place));
      part("layer").textContent = layer.layer;
      part("noise").textContent = layer.noise;
      part("signal").textContent = layer.signal;
      const sets = layer.clusters.map((members) => members.map((label) => labels[label]).join(", "));
      part("sets").replaceChildren(...(sets.length ? sets : ["no label"]).map((set) => element("li", "", set)));
      const said = "layer " + layer.layer + ", filter " + layer.number + " of " + layer.of + ": " + layer.noise +
        " squares of noise, " + layer.signal + " in clusters";
      matrix.setAttribute("aria-label", "Matrix of one filter, " + said + ". It stands for " +
        (sets.join("; ") || "no label") + ".");
      at.setAttribute("aria-valuetext", said);
      part("said").textContent = said;
      read(squares.find((square) => square.classList.contains("fw-at")));
    }

    function stop() {
      window.clearInterval(timer);
      timer = 0;
      play.textContent = Number(at.value) === layers.length - 1 ? "Play again" : "Play";
      root.dataset.fwPlaying = "no";
    }

    function step() {
      at.value = Number(at.value) + 1;
      show();
      if (Number(at.value) === layers.length - 1) stop();
    }

    function begin() {
      if (Number(at.value) === layers.length - 1) at.value = 0;
      show();
      timer = window.setInterval(step, PAUSE);
      play.textContent = "Pause";
      root.dataset.fwPlaying = "yes";
    }

    function read(square) {
      squares.forEach((other) => other.classList.toggle("fw-at", other === square));
      if (!square) return;
      const which = Number(square.dataset.at), layer = layers[Number(at.value)];
      part("cell").textContent = "Pictures of “" + labels[Math.floor(which / labels.length)] + "” raise “" +
        labels[which % labels.length] + "” to " + (layer.levels[which] / 100).toFixed(2) +
        " of the filter's largest: " + KINDS[layer.kinds[which]] + " (threshold " + threshold + ").";
    }

    function move(event) {
      const side = labels.length, from = squares.findIndex((square) => square.classList.contains("fw-at"));
      const [down, across] = STEPS[event.key] || [];
      if (down === undefined) return;
      event.preventDefault();
      const inside = (place) => Math.min(side - 1, Math.max(0, place));
      const row = from < 0 ? 0 : inside(Math.floor(from / side) + down);
      read(squares[row * side + (from < 0 ? 0 : inside(from % side + across))]);
    }

    play.addEventListener("click", () => (timer ? stop() : begin()));
    at.addEventListener("input", () => { if (timer) stop(); show(); stop(); });
    ["pointermove", "pointerdown"].forEach((kind) => {
      matrix.addEventListener(kind, (event) => read(event.target.closest(".fw-square")));
    });
    matrix.addEventListener("keydown", move);
    show();
    stop();
    // It plays once by itself when it is seen, unless the reader has asked for less motion.
    if (!still.matches && "IntersectionObserver" in window) {
      const seen = new IntersectionObserver((entries) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        seen.disconnect();
        if (root.dataset.fwTouched !== "yes" && !timer) begin();
      }, { threshold: 0.4 });
      [play, at].forEach((control) => control.addEventListener("pointerdown", () => { root.dataset.fwTouched = "yes"; }));
      seen.observe(matrix);
    }
  }

  return { start };
})();
