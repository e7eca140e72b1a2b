// What twins without a kernel share: bytes from text, an image from bytes, the colour of controls.
window.filterwisePixels = window.filterwisePixels || (function () {
  "use strict";

  function decode(text) {
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  }

  // Bytes (channels, height, width) as one pixel a place, square if no width is given; one channel is grey.
  function paintImage(canvas, bytes, channels, width) {
    const places = bytes.length / channels;
    canvas.width = width || Math.round(Math.sqrt(places));
    canvas.height = places / canvas.width;
    const context = canvas.getContext("2d");
    const image = context.createImageData(canvas.width, canvas.height);
    for (let at = 0; at < places; at++) {
      const value = (c) => bytes[(channels === 1 ? 0 : c) * places + at];
      image.data.set([value(0), value(1), value(2), 255], 4 * at);
    }
    context.putImageData(image, 0, 0);
  }

  // The colour of controls on this page, light or dark: red, green, blue.
  function accent(element) {
    const text = getComputedStyle(element).getPropertyValue("--fw-accent").trim();
    return [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
  }

  return { decode, paintImage, accent };
})();
