// Masks without a kernel: one byte for every filter and label, how many of the thresholds 0, 0.01, ... its
// diagonal field exceeds; a filter's labels at threshold k / 100 are those with more than k.
window.filterwiseMasks = window.filterwiseMasks || (function () {
  "use strict";

  const { decode, accent } = window.filterwisePixels;

  // Label sets of a place, a list of labels a filter; outputs have themselves.
  function sets(place, labels, k) {
    if (!place) return Array.from({ length: labels }, (_, label) => [label]);
    return Array.from({ length: place.length / labels }, (_, filter) => {
      const found = [];
      for (let label = 0; label < labels; label++) {
        if (place[filter * labels + label] > k) found.push(label);
      }
      return found;
    });
  }

  // Filters ordered by their labels, those without last.
  function ordered(list) {
    const first = (filter) => (list[filter].length ? list[filter][0] : Infinity);
    return list.map((_, filter) => filter).sort((a, b) => first(a) - first(b) || a - b);
  }

  // Which connections stay: rows above, columns below, both in the order of the filters.
  function mask(above, below) {
    const members = above.map((labels) => new Set(labels));
    return members.map((labels) => below.map((other) => other.some((label) => labels.has(label))));
  }

  function lost(list, labels) {
    const kept = new Set(list.flat());
    return Array.from({ length: labels }, (_, label) => label).filter((label) => !kept.has(label));
  }

  function paint(canvas, rows, columns, kept) {
    canvas.width = columns.length;
    canvas.height = rows.length;
    const context = canvas.getContext("2d");
    const image = context.createImageData(columns.length, rows.length);
    const ink = [...accent(canvas), 255];
    rows.forEach((row, y) => columns.forEach((column, x) => {
      if (kept[row][column]) image.data.set(ink, 4 * (y * columns.length + x));
    }));
    context.putImageData(image, 0, 0);
  }

  function start(name, content) {
    document.querySelectorAll('[data-fw-masks="' + name + '"]').forEach((root) => {
      if (!root.dataset.fwStarted) run(root, content);
    });
  }

  function run(root, content) {
    root.dataset.fwStarted = "yes";
    const part = (name) => root.querySelector('[data-fw="' + name + '"]');
    const threshold = part("threshold"), layer = part("layer"), canvas = part("mask");
    const places = Object.fromEntries(Object.entries(content.places).map(([name, text]) => [name, decode(text)]));
    content.layers.forEach((one, at) => layer.append(new Option(one.name, at)));
    layer.value = content.start;
    threshold.value = content.threshold;

    function update() {
      const one = content.layers[Number(layer.value)], k = Number(threshold.value);
      const below = sets(places[one.below], content.labels, k);
      const above = sets(places[one.above], content.labels, k);
      const kept = mask(above, below);
      paint(canvas, ordered(above), ordered(below), kept);
      const count = kept.flat().filter(Boolean).length, all = above.length * below.length;
      const empty = below.filter((labels) => !labels.length).length;
      const gone = lost(below, content.labels);
      const named = gone.slice(0, 6).map((label) => content.names[label]).join(", ") + (gone.length > 6 ? ", ..." : "");
      part("threshold-value").textContent = (k / 100).toFixed(2);
      part("axes").textContent = one.above ? "rows: filters of " + one.above + ", columns: filters of " + one.below
        : "rows: labels, columns: filters of " + one.below;
      const text = one.name + " at threshold " + (k / 100).toFixed(2) + ": " + (100 * (1 - count / all)).toFixed(1) +
        " % of " + all.toLocaleString("en") + " connections removed; " + empty + " of " + below.length +
        " filters below stand for no label; " +
        (gone.length ? gone.length + " labels are in no set: " + named + "." : "every label is in some set.");
      part("summary").textContent = text;
      canvas.setAttribute("aria-label", text);
      threshold.setAttribute("aria-valuetext", (k / 100).toFixed(2));
    }

    [threshold, layer].forEach((control) => control.addEventListener("input", update));
    const themes = new MutationObserver(update);
    const watched = { attributes: true, attributeFilter: ["data-theme", "data-jp-theme-light", "class"] };
    themes.observe(document.documentElement, watched);
    themes.observe(document.body, watched);
    update();
  }

  return { start, sets, mask, lost };
})();
