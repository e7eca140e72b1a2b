// Heads and random groups without a kernel. Of each encoder come the class means mu and the weights W of all
// nodes as 16 bit integers, multiples of 1/32767 of their largest size: what the library's view holds as well,
// so that every entry sum mu W is the same integer here and there, exact in a double, and the clusters agree.
// Against the measured values an entry moves by at most about n max|mu| max|W| / 32767, n nodes in a group;
// of small trained networks, by less than 1e-4 of the matrix's largest entry.
window.filterwiseHeads = window.filterwiseHeads || (function () {
  "use strict";

  const { decode } = window.filterwisePixels;
  const { clusters, permutation, classify, draw, colors, keepDrawn, readable } = window.filterwiseMatrices;
  const SIDES = ["own", "random"];
  const MOST_NAMED = 6;
  const KINDS = ["below the threshold", "in a cluster", "internal noise", "external noise"];

  const integers = (text) => new Int16Array(decode(text).buffer);

  function read(content) {
    const encoders = content.encoders.map((one) => ({ ...one, mu: integers(one.mu), W: integers(one.W) }));
    return { ...content, encoders };
  }

  // M[i, j] = sum over the nodes k of a group of mu[i, k] W[j, k], row by row.
  function fields({ mu, W }, nodes, labels) {
    const d = mu.length / labels;
    const M = new Float64Array(labels * labels);
    for (let i = 0; i < labels; i++) {
      for (let j = 0; j < labels; j++) {
        let sum = 0;
        for (const k of nodes) sum += mu[i * d + k] * W[j * d + k];
        M[i * labels + j] = sum;
      }
    }
    return M;
  }

  // Everything that one position of the controls means on one side; no drawing. The threshold is k / 100.
  function analyse(view, side, encoder, head, k) {
    const labels = view.names.length;
    const M = fields(view.encoders[encoder], view.groups[side][head], labels);
    const largest = M.reduce((most, value) => Math.max(most, value), -Infinity);
    const size = largest > 0 ? largest : M.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1;
    const isOne = (i, j) => largest > 0 && M[i * labels + j] / largest > k / 100;
    const found = clusters(isOne, labels);
    return { M, size, found, order: permutation(found, labels), ...classify(isOne, found, labels) };
  }

  function says(view, side, { found, count }, encoder, head, k) {
    const inside = found.flat().sort((a, b) => a - b);
    const named = inside.slice(0, MOST_NAMED).map((label) => view.names[label]).join(", ") +
      (inside.length > MOST_NAMED ? " and " + (inside.length - MOST_NAMED) + " more" : "");
    const many = (number, noun) => number.toLocaleString("en") + " " + noun + (number === 1 ? "" : "s");
    return ["Head ", "Random group "][SIDES.indexOf(side)] + head + " of encoder " + view.encoders[encoder].number +
      " at threshold " + (k / 100).toFixed(2) + ": " + many(found.length, "cluster") + " with " +
      many(inside.length, "label") + ", noise " + (count[2] + count[3]).toLocaleString("en") + "; stands for " +
      (inside.length ? named : "no label") + ".";
  }

  function paint(canvas, view, how, { M, size, found, order, kinds, cursor }) {
    const [ink, signal, inner, outer, more, less] = colors(canvas, "--fw-signal", "--fw-inner", "--fw-outer",
      "--fw-more", "--fw-less");
    const palette = [ink, signal, inner, outer];
    const looks = {
      strength: (at) => [M[at] > 0 ? more : less, Math.min(1, Math.abs(M[at]) / size)],
      kind: (at) => [palette[kinds[at]], kinds[at] ? 1 : 0.1],
    };
    const first = how === "clusters first";
    return draw(canvas, {
      names: view.names,
      shown: first ? order : view.names.map((_, label) => label),
      look: how === "fields" ? looks.strength : looks.kind,
      boxed: first ? found : [],
      cursor,
    });
  }

  function start(name, content) {
    document.querySelectorAll('[data-fw-heads="' + name + '"]').forEach((root) => {
      if (!root.dataset.fwStarted) run(root, read(content));
    });
  }

  function run(root, view) {
    root.dataset.fwStarted = "yes";
    const part = (name) => root.querySelector('[data-fw="' + name + '"]');
    const encoder = part("encoder"), head = part("head"), threshold = part("threshold"), how = part("how");
    encoder.max = view.encoders.length - 1;
    encoder.value = view.start;
    head.max = view.groups.own.length - 1;
    threshold.min = view.least;
    threshold.max = view.most;
    threshold.value = view.threshold;
    view.ways.forEach((way) => how.append(new Option(way, way)));
    how.value = view.ways[view.ways.length - 1];
    const seen = {}, drawn = {}, labels = view.names.length;
    let entry = null; // labels of the entry that is read, outlined on both sides

    function redraw() {
      SIDES.forEach((side) => {
        const order = drawn[side] && drawn[side].shown;
        const cursor = entry && entry.map((label) => order.indexOf(label));
        drawn[side] = paint(part(side), view, how.value, { ...seen[side], cursor });
      });
    }

    // The entry at a place of one side, by its labels, beside the same labels' entry of the other side.
    function read(side, row, column) {
      const { shown } = drawn[side], at = shown[row] * labels + shown[column];
      const value = ({ M, size, kinds }) => (M[at] / size).toFixed(2) + " of the largest, " + KINDS[kinds[at]];
      part("cell").textContent = "Input " + view.names[shown[row]] + ", output " + view.names[shown[column]] + ": " +
        "head " + value(seen.own) + "; random group " + value(seen.random) + ".";
      entry = [shown[row], shown[column]];
      redraw();
    }

    function update() {
      const [m, h, k] = [encoder, head, threshold].map((control) => Number(control.value));
      const values = [[encoder, view.encoders[m].number], [head, h], [threshold, (k / 100).toFixed(2)]];
      for (const [control, value] of values) {
        part(control.dataset.fw + "-value").textContent = value;
        control.setAttribute("aria-valuetext", value);
      }
      for (const side of SIDES) {
        seen[side] = analyse(view, side, m, h, k);
        const text = says(view, side, seen[side], m, h, k);
        part(side + "-says").textContent = text;
        part(side).setAttribute("aria-label", "Label matrix, " + how.value + ". " + text);
      }
      entry = null;
      part("cell").textContent = "Point at an entry, or go there by the arrow keys, to read it on both sides.";
      part("kinds").hidden = how.value === "fields";
      part("strengths").hidden = how.value !== "fields";
      redraw();
    }

    [encoder, head, threshold, how].forEach((control) => control.addEventListener("input", update));
    update();
    SIDES.forEach((side) => {
      readable(part(side), labels, () => drawn[side], (row, column) => read(side, row, column));
    });
    keepDrawn(SIDES.map(part), redraw);
  }

  return { start, read, analyse };
})();
