// The matrix explorer without a kernel. Matrices come as one byte an entry: how many of the thresholds
// 0, 0.01, ..., 0.99 the entry exceeds. An entry is a 1 at threshold k/100 exactly when its byte is above k.
// Row = input label, column = output label, as everywhere in this book.
window.filterwiseExplorer = window.filterwiseExplorer || (function () {
  "use strict";

  const { decode } = window.filterwisePixels;

  const NONE = 0, SIGNAL = 1, INTERNAL = 2, EXTERNAL = 3;
  const KINDS = ["", "in a cluster", "internal noise", "external noise"];
  const MOST_NAMES = 20;

  // Greedy, in ascending order: each cluster starts with the smallest label that is left and takes every later
  // one that is connected with all its members in both directions.
  function clusters(isOne, labels) {
    const left = [];
    for (let j = 0; j < labels; j++) if (isOne(j, j)) left.push(j);
    const found = [];
    while (left.length) {
      const members = [left.shift()];
      for (let at = 0; at < left.length;) {
        const label = left[at];
        if (members.every((m) => isOne(m, label) && isOne(label, m))) {
          members.push(label);
          left.splice(at, 1);
        } else {
          at++;
        }
      }
      found.push(members);
    }
    return found;
  }

  // Cluster after cluster, the labels of no cluster last.
  function permutation(found, labels) {
    const inside = found.flat();
    const order = inside.slice();
    for (let j = 0; j < labels; j++) if (!inside.includes(j)) order.push(j);
    return order;
  }

  function classify(isOne, found, labels) {
    const cluster = new Array(labels).fill(-1);
    found.forEach((members, c) => members.forEach((label) => { cluster[label] = c; }));
    const kinds = new Uint8Array(labels * labels);
    const count = [0, 0, 0, 0];
    for (let i = 0; i < labels; i++) {
      for (let j = 0; j < labels; j++) {
        let kind = NONE;
        if (isOne(i, j)) {
          if (cluster[j] >= 0 && cluster[i] === cluster[j]) kind = SIGNAL;
          else kind = cluster[j] >= 0 ? INTERNAL : EXTERNAL;
        }
        kinds[i * labels + j] = kind;
        count[kind]++;
      }
    }
    return { kinds, count };
  }

  // Everything that one position of the sliders means; no drawing.
  function analyse(bytes, labels, threshold) {
    const isOne = (i, j) => bytes[i * labels + j] > threshold;
    const found = clusters(isOne, labels);
    return { found, order: permutation(found, labels), ...classify(isOne, found, labels) };
  }

  function margins(context, names, side) {
    if (names.length > MOST_NAMES) return { size: 0, room: 14 };
    const size = Math.max(8, Math.min(12, side / 30));
    context.font = size + "px sans-serif";
    const widest = Math.max(...names.map((name) => context.measureText(name).width));
    return { size, room: Math.min(widest, side / 4) + 22 };
  }

  function draw(canvas, state) {
    const { bytes, labels, names, order, kinds, found, reorder } = state;
    const side = canvas.clientWidth || 400;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = canvas.height = Math.round(side * ratio);
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    const style = getComputedStyle(canvas);
    const ink = style.color;
    const colors = ["", "--fw-signal", "--fw-inner", "--fw-outer"].map((name) => name && style.getPropertyValue(name));
    const { size, room } = margins(context, names, side);
    const cell = (side - room - 2) / labels;
    const shown = reorder ? order : order.map((_, label) => label);

    for (let row = 0; row < labels; row++) {
      for (let column = 0; column < labels; column++) {
        const at = shown[row] * labels + shown[column];
        // What stays below the threshold is shown as a shade of ink, so that a slider move surprises no one.
        context.globalAlpha = kinds[at] ? 1 : 0.05 + 0.3 * bytes[at] / 100;
        context.fillStyle = kinds[at] ? colors[kinds[at]] : ink;
        const gap = cell > 6 ? 1 : 0;
        context.fillRect(room + column * cell, room + row * cell, cell - gap, cell - gap);
      }
    }
    context.globalAlpha = 1;
    context.fillStyle = context.strokeStyle = ink;
    if (reorder) {
      context.lineWidth = cell > 8 ? 2 : 1;
      let start = 0;
      for (const members of found) {
        const at = room + start * cell - 0.5;
        context.strokeRect(at, at, members.length * cell, members.length * cell);
        start += members.length;
      }
    }
    axis(context, { names, shown, size, room, cell, side, ink });
    state.geometry = { room, cell, shown };
  }

  function axis(context, { names, shown, size, room, cell, side, ink }) {
    context.fillStyle = ink;
    context.textBaseline = "middle";
    const middle = room + (side - room) / 2;
    context.font = "12px sans-serif";
    context.textAlign = "center";
    context.fillText("output label", middle, 7);
    context.save();
    context.translate(7, middle);
    context.rotate(-Math.PI / 2);
    context.fillText("input label", 0, 0);
    context.restore();
    if (!size) return;
    context.font = size + "px sans-serif";
    shown.forEach((label, place) => {
      const at = room + (place + 0.5) * cell;
      context.textAlign = "right";
      context.fillText(names[label], room - 5, at, room - 20);
      context.save();
      context.translate(at, room - 5);
      context.rotate(-Math.PI / 2);
      context.textAlign = "left";
      context.fillText(names[label], 0, 0, room - 20);
      context.restore();
    });
  }

  function start(name, content) {
    document.querySelectorAll('[data-fw-explorer="' + name + '"]').forEach((root) => {
      if (!root.dataset.fwStarted) run(root, content);
    });
  }

  function run(root, content) {
    root.dataset.fwStarted = "yes";
    const part = (name) => root.querySelector('[data-fw="' + name + '"]');
    const labels = content.labels.length;
    const layers = content.layers.map((layer) => ({ ...layer, bytes: decode(layer.data) }));
    const state = { labels, names: content.labels };
    const layer = part("layer"), filter = part("filter"), threshold = part("threshold"), reorder = part("reorder");
    layer.max = layers.length - 1;
    threshold.value = content.threshold;

    function update() {
      const chosen = layers[Number(layer.value)];
      filter.max = chosen.filters.length - 1;
      const at = Number(filter.value);
      const size = labels * labels;
      state.bytes = chosen.bytes.subarray(at * size, (at + 1) * size);
      state.reorder = reorder.checked;
      Object.assign(state, analyse(state.bytes, labels, Number(threshold.value)));
      part("layer-value").textContent = chosen.number;
      part("filter-value").textContent = chosen.filters[at] + " (of " + chosen.of + ")";
      part("threshold-value").textContent = (Number(threshold.value) / 100).toFixed(2);
      layer.setAttribute("aria-valuetext", "layer " + chosen.number);
      filter.setAttribute("aria-valuetext", "filter " + chosen.filters[at]);
      threshold.setAttribute("aria-valuetext", part("threshold-value").textContent);
      report();
      draw(part("canvas"), state);
    }

    function report() {
      const [, signal, inner, outer] = state.count;
      const many = state.found.length;
      const text = (many ? many + (many > 1 ? " clusters" : " cluster") : "no cluster") +
        ", noise " + (inner + outer) + ".";
      part("summary").textContent = text;
      part("signal").textContent = signal;
      part("inner").textContent = inner;
      part("outer").textContent = outer;
      part("canvas").setAttribute("aria-label", "Matrix of filter " + part("filter-value").textContent +
        ", layer " + part("layer-value").textContent + ": " + text);
      part("clusters").replaceChildren(...state.found.map((members) => {
        const item = document.createElement("li");
        item.textContent = members.map((label) => state.names[label]).join(", ");
        return item;
      }));
    }

    function point(event) {
      const { room, cell, shown } = state.geometry;
      const box = part("canvas").getBoundingClientRect();
      const column = Math.floor((event.clientX - box.left - room) / cell);
      const row = Math.floor((event.clientY - box.top - room) / cell);
      if (row < 0 || column < 0 || row >= labels || column >= labels) return;
      const at = shown[row] * labels + shown[column];
      part("cell").textContent = "input " + state.names[shown[row]] + ", output " + state.names[shown[column]] +
        ": " + (state.bytes[at] ? (state.bytes[at] / 100).toFixed(2) : "none") + " of the maximum, " +
        (state.kinds[at] ? KINDS[state.kinds[at]] : "below the threshold");
    }

    [layer, filter, threshold, reorder].forEach((control) => control.addEventListener("input", update));
    part("canvas").addEventListener("pointermove", point);
    new ResizeObserver(() => draw(part("canvas"), state)).observe(part("canvas"));
    const themes = new MutationObserver(() => draw(part("canvas"), state));
    const watched = { attributes: true, attributeFilter: ["data-theme", "data-jp-theme-light", "class"] };
    themes.observe(document.documentElement, watched);
    themes.observe(document.body, watched);
    update();
  }

  return { start, clusters, permutation, classify, analyse, decode };
})();
