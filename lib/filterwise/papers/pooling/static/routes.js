// Routes without a kernel: for every plan, order and image two maps, one byte a place (0 to 255 of the largest).
window.filterwiseRoutes = window.filterwiseRoutes || (function () {
  "use strict";

  const { decode, accent, paintImage } = window.filterwisePixels;

  // The arm that a position of the controls means; a plan without orders has one arm.
  function find(arms, plan, order) {
    return arms.find((arm) => arm.plan === plan && arm.order === order) || arms.find((arm) => arm.plan === plan);
  }

  function orders(arms, plan) {
    return arms.filter((arm) => arm.plan === plan && arm.order).map((arm) => arm.order);
  }

  // A square map as one pixel a place; the style sheet enlarges it without smoothing.
  function paint(canvas, bytes, pixel) {
    const side = Math.round(Math.sqrt(bytes.length));
    canvas.width = canvas.height = side;
    const context = canvas.getContext("2d");
    const image = context.createImageData(side, side);
    bytes.forEach((value, at) => image.data.set(pixel(value), 4 * at));
    context.putImageData(image, 0, 0);
  }

  function start(name, content) {
    document.querySelectorAll('[data-fw-routes="' + name + '"]').forEach((root) => {
      if (!root.dataset.fwStarted) run(root, content);
    });
  }

  function options(select, values) {
    select.replaceChildren(...values.map((value) => {
      const option = document.createElement("option");
      option.value = option.textContent = value;
      return option;
    }));
    select.disabled = values.length < 2;
  }

  function run(root, content) {
    root.dataset.fwStarted = "yes";
    const part = (name) => root.querySelector('[data-fw="' + name + '"]');
    const plan = part("plan"), order = part("order"), image = part("image");
    const arms = content.arms.map((arm) => ({
      ...arm, routes: arm.routes.map(decode), ends: arm.ends.map(decode),
    }));
    const images = content.images.map(decode);
    options(plan, [...new Set(arms.map((arm) => arm.plan))]);
    plan.value = content.plan;
    image.max = images.length - 1;

    function listOrders() {
      options(order, orders(arms, plan.value));
    }

    function update() {
      const arm = find(arms, plan.value, order.value);
      const at = Number(image.value);
      const [red, green, blue] = accent(part("routes"));
      paintImage(part("picture"), images[at], content.channels);
      const ink = (value) => [red, green, blue, value];
      paint(part("routes"), arm.routes[at], ink);
      paint(part("ends"), arm.ends[at], ink);
      part("image-value").textContent = content.names[at];
      part("order-value").textContent = order.disabled ? "" : "first pool first";
      const text = "Plan " + arm.plan + (arm.order ? ", " + arm.order : "") + ": image " + content.names[at] + ", answer " + arm.answers[at] +
        "; " + arm.counts[at] + " routes a filter, " +
        arm.spreads[at] + " pixels around their centre. Test accuracy " + arm.accuracy + ".";
      part("summary").textContent = text;
      part("summary").classList.toggle("fw-wrong", arm.answers[at].endsWith("wrong"));
      ["routes", "ends"].forEach((which) => part(which).setAttribute("aria-label", text));
      image.setAttribute("aria-valuetext", content.names[at]);
    }

    plan.addEventListener("input", () => { listOrders(); update(); });
    [order, image].forEach((control) => control.addEventListener("input", update));
    const themes = new MutationObserver(update);
    const watched = { attributes: true, attributeFilter: ["data-theme", "data-jp-theme-light", "class"] };
    themes.observe(document.documentElement, watched);
    themes.observe(document.body, watched);
    listOrders();
    if (content.order) order.value = content.order;
    update();
  }

  return { start, find, orders, decode };
})();
