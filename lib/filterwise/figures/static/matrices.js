// What twins with label matrices share: clusters, noise, and the drawing of a matrix.
// Row = input label, column = output label, as everywhere in this book.
window.filterwiseMatrices = window.filterwiseMatrices || (function () {
  "use strict";

  const NONE = 0, SIGNAL = 1, INTERNAL = 2, EXTERNAL = 3;
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

  function margins(context, names, side) {
    if (names.length > MOST_NAMES) return { size: 0, room: 14 };
    const size = Math.max(8, Math.min(12, side / 30));
    context.font = size + "px sans-serif";
    const widest = Math.max(...names.map((name) => context.measureText(name).width));
    return { size, room: Math.min(widest, side / 4) + 22 };
  }

  // Labels in the order `shown`; `look(at)` gives colour and opacity of the entry at = row * labels + column of
  // the matrix; clusters, where given, are boxed from the first label shown on; the entry at the place `cursor`,
  // [row, column], is outlined. Returns where the entries lie.
  function draw(canvas, { names, shown, look, boxed, cursor }) {
    const labels = names.length;
    const side = canvas.clientWidth || 400;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = canvas.height = Math.round(side * ratio);
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    const ink = getComputedStyle(canvas).color;
    const { size, room } = margins(context, names, side);
    const cell = (side - room - 2) / labels;
    const gap = cell > 6 ? 1 : 0;
    const edge = (place) => Math.round((room + place * cell) * ratio) / ratio; // whole pixels: no seams

    for (let row = 0; row < labels; row++) {
      for (let column = 0; column < labels; column++) {
        const [color, opacity] = look(shown[row] * labels + shown[column]);
        context.globalAlpha = opacity;
        context.fillStyle = color;
        const [x, y] = [edge(column), edge(row)];
        context.fillRect(x, y, edge(column + 1) - x - gap, edge(row + 1) - y - gap);
      }
    }
    context.globalAlpha = 1;
    context.fillStyle = context.strokeStyle = ink;
    context.lineWidth = cell > 8 ? 2 : cell > 4 ? 1 : 0.5;
    let start = 0;
    for (const members of boxed) {
      const at = room + start * cell - 0.5;
      context.strokeRect(at, at, members.length * cell, members.length * cell);
      start += members.length;
    }
    if (cursor) {
      context.lineWidth = 2;
      context.strokeRect(room + cursor[1] * cell - 1.5, room + cursor[0] * cell - 1.5, cell + 2, cell + 2);
    }
    axis(context, { names, shown, size, room, cell, side, ink });
    return { room, cell, shown };
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

  // Ink of the page, and the colours of the style sheet by name.
  function colors(canvas, ...names) {
    const style = getComputedStyle(canvas);
    return [style.color, ...names.map((name) => style.getPropertyValue(name))];
  }

  // Draw again when a canvas gets another size or the page another theme.
  function keepDrawn(canvases, draw) {
    const sizes = new ResizeObserver(draw);
    canvases.forEach((canvas) => sizes.observe(canvas));
    const themes = new MutationObserver(draw);
    const watched = { attributes: true, attributeFilter: ["data-theme", "data-jp-theme-light", "class"] };
    themes.observe(document.documentElement, watched);
    themes.observe(document.body, watched);
  }

  // The entry under the pointer, and the one that the arrow keys move to, row by row and column by column as
  // drawn. `geometry()` is what `draw` returned; `say(row, column)` reads the entry of these places.
  function readable(canvas, labels, geometry, say) {
    let [row, column] = [0, 0];
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "application");
    canvas.setAttribute("aria-roledescription", "matrix to read");

    function at(place) {
      return Math.min(labels - 1, Math.max(0, place));
    }

    canvas.addEventListener("pointermove", (event) => {
      const { room, cell } = geometry(), box = canvas.getBoundingClientRect();
      const across = Math.floor((event.clientX - box.left - room) / cell);
      const down = Math.floor((event.clientY - box.top - room) / cell);
      if (at(across) !== across || at(down) !== down) return;
      [row, column] = [down, across];
      say(row, column);
    });
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (!step) return;
      event.preventDefault();
      [row, column] = [at(row + step[0]), at(column + step[1])];
      say(row, column);
    });
    canvas.addEventListener("focus", () => say(row, column));
  }

  return { clusters, permutation, classify, draw, colors, keepDrawn, readable };
})();
