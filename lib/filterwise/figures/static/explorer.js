// The matrix explorer without a kernel. Matrices come deflated, one byte an entry: how many of the thresholds
// 0, 0.01, ..., 0.99 the entry exceeds. An entry is a 1 at threshold k/100 exactly when its byte is above k.
// Row = input label, column = output label, as everywhere in this book.
window.filterwiseExplorer = window.filterwiseExplorer || (function () {
  "use strict";

  const { decode, paintImage } = window.filterwisePixels;
  const { inflate } = window.filterwiseInflate;
  const { clusters, permutation, classify, colors, keepDrawn, readable, draw: drawMatrix } =
    window.filterwiseMatrices;

  const KINDS = ["", "in a cluster", "internal noise", "external noise"];

  // Everything that one position of the sliders means; no drawing.
  function analyse(bytes, labels, threshold) {
    const isOne = (i, j) => bytes[i * labels + j] > threshold;
    const found = clusters(isOne, labels);
    return { found, order: permutation(found, labels), ...classify(isOne, found, labels) };
  }

  function draw(canvas, state) {
    const { bytes, names, order, kinds, found, reorder } = state;
    const palette = colors(canvas, "--fw-signal", "--fw-inner", "--fw-outer");
    state.geometry = drawMatrix(canvas, {
      names,
      shown: reorder ? order : order.map((_, label) => label),
      // What stays below the threshold is shown as a shade of ink, so that a slider move surprises no one.
      look: (at) => [palette[kinds[at]], kinds[at] ? 1 : 0.05 + 0.3 * bytes[at] / 100],
      boxed: reorder ? found : [],
      cursor: state.cursor,
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
    const layers = content.layers.map((layer) => ({ ...layer, bytes: inflate(decode(layer.data)) }));
    const state = { labels, names: content.labels };
    const layer = part("layer"), filter = part("filter"), threshold = part("threshold"), reorder = part("reorder");
    const pictures = content.pictures && { ...content.pictures, bytes: inflate(decode(content.pictures.data)) };
    layer.max = layers.length - 1;
    layer.value = content.start.layer;
    filter.max = layers[content.start.layer].filters.length - 1;
    filter.value = content.start.filter;
    threshold.value = content.threshold;
    part("fires").hidden = !pictures;

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
      if (pictures) showPictures(chosen.fires[at]);
      if (state.cursor) read(...state.cursor);
      else draw(part("canvas"), state);
    }

    function showPictures(numbers) {
      const [channels, height, width] = pictures.shape, size = channels * height * width;
      part("fires-on").textContent = numbers.length ? "It fires most on these pictures:" :
        "It fires on none of the pictures.";
      part("pictures").replaceChildren(...numbers.map((number) => {
        const figure = document.createElement("figure"), canvas = document.createElement("canvas");
        const name = document.createElement("figcaption");
        paintImage(canvas, pictures.bytes.subarray(number * size, (number + 1) * size), channels, width);
        canvas.setAttribute("aria-hidden", "true");
        name.textContent = pictures.labels[number];
        figure.append(canvas, name);
        return figure;
      }));
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

    function read(row, column) {
      state.cursor = [row, column];
      draw(part("canvas"), state);
      const { shown } = state.geometry;
      const at = shown[row] * labels + shown[column];
      part("cell").textContent = "input " + state.names[shown[row]] + ", output " + state.names[shown[column]] +
        ": " + (state.bytes[at] ? (state.bytes[at] / 100).toFixed(2) : "none") + " of the maximum, " +
        (state.kinds[at] ? KINDS[state.kinds[at]] : "below the threshold");
    }

    [layer, filter, threshold, reorder].forEach((control) => control.addEventListener("input", update));
    readable(part("canvas"), labels, () => state.geometry, read);
    keepDrawn([part("canvas")], () => draw(part("canvas"), state));
    update();
  }

  return { start, analyse, decode };
})();
