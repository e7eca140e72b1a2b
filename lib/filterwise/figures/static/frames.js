// A slider over frames that were drawn beforehand.
window.filterwiseFrames = window.filterwiseFrames || (function () {
  "use strict";

  function start(name, content) {
    document.querySelectorAll('[data-fw-frames="' + name + '"]').forEach((root) => {
      if (!root.dataset.fwStarted) run(root, content);
    });
  }

  function run(root, content) {
    root.dataset.fwStarted = "yes";
    const part = (name) => root.querySelector('[data-fw="' + name + '"]');
    const at = part("at");
    at.max = content.frames.length - 1;
    at.value = content.start;
    part("label").textContent = content.label;
    function update() {
      const frame = content.frames[Number(at.value)];
      part("value").textContent = frame.value;
      part("frame").innerHTML = frame.html;
      at.setAttribute("aria-valuetext", frame.value);
    }
    at.addEventListener("input", update);
    update();
  }

  return { start };
})();
