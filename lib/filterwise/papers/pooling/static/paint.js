// A map to paint and pools to put in order: routes, output and their number, beside those of the reversed order.
window.filterwisePaint = window.filterwisePaint || (function () {
  "use strict";

  const SIDE = 8, CELL = 20, HIGHEST = 9;

  // Pools of 2 x 2, first step first: the output, and what of it each pixel holds. The first of equals wins.
  function routes(map, kinds) {
    const maps = [map];
    for (const kind of kinds) {
      const below = maps[maps.length - 1], side = Math.sqrt(below.length), half = side / 2, next = [];
      for (let at = 0; at < half * half; at++) {
        const window = tile(at, half).map((place) => below[place]);
        next.push(kind === "MP" ? Math.max(...window) : window.reduce((a, b) => a + b) / 4);
      }
      maps.push(next);
    }
    let weights = maps[maps.length - 1].map(() => 1);
    for (let step = kinds.length - 1; step >= 0; step--) {
      const below = maps[step], half = Math.sqrt(below.length) / 2, share = below.map(() => 0);
      weights.forEach((weight, at) => {
        const places = tile(at, half);
        if (kinds[step] === "AP") places.forEach((place) => { share[place] = weight / 4; });
        else share[places.find((place) => below[place] === maps[step + 1][at])] = weight;
      });
      weights = share;
    }
    return { output: maps[maps.length - 1][0], weights, count: weights.filter((weight) => weight > 0).length };
  }

  function tile(at, half) {
    const first = 2 * Math.floor(at / half) * 2 * half + 2 * (at % half);
    return [first, first + 1, first + 2 * half, first + 2 * half + 1];
  }

  function shape(name, attributes) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
    return made;
  }

  function box(kind, at, side, inset) {
    const size = CELL * side;
    return shape("rect", { class: kind, x: (at % SIDE) * CELL + inset, y: Math.floor(at / SIDE) * CELL + inset,
      width: size - 2 * inset, height: size - 2 * inset });
  }

  function draw(svg, map, found, cursor) {
    const parts = map.map((value, at) => {
      const cell = box("fw-cell", at, 1, 0);
      cell.setAttribute("fill-opacity", (0.9 * value / HIGHEST).toFixed(2));
      return cell;
    });
    for (let at = 0; at < SIDE * SIDE; at++) {
      if (at % 2 === 0 && Math.floor(at / SIDE) % 2 === 0) parts.push(box("fw-window", at, 2, 0));
    }
    if (found) found.weights.forEach((weight, at) => { if (weight) parts.push(box("fw-route", at, 1, 2)); });
    if (cursor !== undefined) parts.push(box("fw-cursor", cursor, 1, 1));
    svg.replaceChildren(...parts);
  }

  function name(kinds) {
    return kinds.map((kind) => kind + "2").join("-");
  }

  function start(id, content) {
    document.querySelectorAll('[data-fw-paint="' + id + '"]').forEach((root) => {
      if (!root.dataset.fwStarted) run(root, content);
    });
  }

  function run(root, content) {
    root.dataset.fwStarted = "yes";
    const part = (one) => root.querySelector('[data-fw="' + one + '"]');
    const board = part("map"), brush = part("brush"), pools = part("pools");
    const map = content.map.slice(), kinds = content.kinds.slice();
    let cursor = 0;

    function update() {
      const back = kinds.slice().reverse();
      const one = routes(map, kinds), other = routes(map, back);
      draw(board, map, null, cursor);
      draw(part("one"), map, one);
      draw(part("other"), map, other);
      const says = (order, found) => name(order) + ": output " + Number(found.output.toFixed(6)) + ", " + found.count + " route" + (found.count > 1 ? "s" : "");
      part("one-says").textContent = says(kinds, one);
      part("other-says").textContent = "reversed, " + says(back, other);
      part("one").setAttribute("aria-label", says(kinds, one));
      part("other").setAttribute("aria-label", says(back, other));
      const order = one.output > other.output ? name(kinds) : name(back);
      part("summary").textContent = one.output === other.output ? "Both orders give the same output." :
        "The larger output is that of " + order + ".";
      part("brush-value").textContent = brush.value;
      board.setAttribute("aria-label", "row " + (Math.floor(cursor / SIDE) + 1) + ", column " + (cursor % SIDE + 1) +
        ": " + map[cursor] + "; arrows move, a digit paints");
    }

    // A pool changes its kind when it is chosen, and its place by the arrow keys or when it is dragged.
    function list(focused) {
      pools.replaceChildren(...kinds.map((kind, place) => {
        const chip = document.createElement("button");
        chip.type = "button";
        chip.textContent = kind + "2";
        chip.setAttribute("aria-label", kind + "2, " + (kind === "MP" ? "max" : "average") + " pool, step " + (place + 1) +
          " of " + kinds.length + "; Enter changes it, arrows move it");
        let dragged = false;
        chip.addEventListener("click", () => {
          if (!dragged) kinds[place] = kind === "MP" ? "AP" : "MP";
          list(place);
        });
        chip.addEventListener("keydown", (event) => {
          const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
          if (step) { event.preventDefault(); move(place, place + step); }
        });
        chip.addEventListener("pointerdown", (event) => chip.setPointerCapture(event.pointerId));
        chip.addEventListener("pointerup", (event) => {
          const middles = [...pools.children].map((each) => {
            const frame = each.getBoundingClientRect();
            return Math.abs((frame.left + frame.right) / 2 - event.clientX);
          });
          const to = middles.indexOf(Math.min(...middles));
          dragged = to !== place;
          if (dragged) move(place, to);
        });
        return chip;
      }));
      if (focused !== undefined) pools.children[focused].focus();
      update();
    }

    function move(from, to) {
      if (to < 0 || to >= kinds.length) return;
      kinds.splice(to, 0, kinds.splice(from, 1)[0]);
      list(to);
    }

    function paint(event) {
      const frame = board.getBoundingClientRect();
      const place = (at, from, size) => Math.min(SIDE - 1, Math.max(0, Math.floor((at - from) * SIDE / size)));
      cursor = place(event.clientY, frame.top, frame.height) * SIDE + place(event.clientX, frame.left, frame.width);
      map[cursor] = Number(brush.value);
      update();
    }

    board.addEventListener("pointerdown", (event) => { board.setPointerCapture(event.pointerId); paint(event); });
    board.addEventListener("pointermove", (event) => { if (board.hasPointerCapture(event.pointerId)) paint(event); });
    board.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -SIDE, ArrowDown: SIDE }[event.key];
      const edge = { ArrowLeft: cursor % SIDE === 0, ArrowRight: cursor % SIDE === SIDE - 1 }[event.key];
      if (step && !edge && map[cursor + step] !== undefined) cursor += step;
      else if (/^[0-9]$/.test(event.key)) map[cursor] = Number(event.key);
      else if (event.key === " " || event.key === "Enter") map[cursor] = Number(brush.value);
      else if (!step) return;
      event.preventDefault();
      update();
    });
    brush.addEventListener("input", update);
    list();
  }

  return { start, routes };
})();
