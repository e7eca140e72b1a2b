// Bytes out of a raw DEFLATE stream (RFC 1951), at once: the browser's own decoder answers only later.
window.filterwiseInflate = window.filterwiseInflate || (function () {
  "use strict";

  const ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

  // How many codes each length has, and the symbols in the order of their codes.
  function table(lengths) {
    const count = new Array(16).fill(0), start = new Array(16).fill(0), symbols = [];
    lengths.forEach((length) => { count[length]++; });
    count[0] = 0;
    for (let bits = 1; bits < 16; bits++) start[bits] = start[bits - 1] + count[bits - 1];
    lengths.forEach((length, symbol) => { if (length) symbols[start[length]++] = symbol; });
    return { count, symbols };
  }

  function steps(first, extra) {
    let base = first;
    return extra.map((bits) => { const step = [base, bits]; base += 1 << bits; return step; });
  }

  const EXTRA = (group, last) => Array.from({ length: last }, (_, at) => Math.max(0, (at / group | 0) - 1));
  const LENGTHS = steps(3, EXTRA(4, 28)).concat([[258, 0]]);
  const DISTANCES = steps(1, EXTRA(2, 30));
  const FIXED = [
    table(Array.from({ length: 288 }, (_, at) => (at < 144 ? 8 : at < 256 ? 9 : at < 280 ? 7 : 8))),
    table(new Array(30).fill(5)),
  ];

  function inflate(source) {
    let at = 0, bit = 0, last = 0, size = 0, out = new Uint8Array(4 * source.length + 64);

    function take(bits) {
      let value = 0;
      for (let place = 0; place < bits; place++) {
        value |= ((source[at] >> bit) & 1) << place;
        if (++bit === 8) { bit = 0; at++; }
      }
      return value;
    }

    function symbol({ count, symbols }) {
      let code = 0, first = 0, index = 0;
      for (let bits = 1; bits < 16; bits++) {
        code |= take(1);
        if (code - first < count[bits]) return symbols[index + code - first];
        index += count[bits];
        first = (first + count[bits]) << 1;
        code <<= 1;
      }
      throw new Error("the packed matrices are damaged");
    }

    function put(value) {
      if (size === out.length) { const more = new Uint8Array(2 * size); more.set(out); out = more; }
      out[size++] = value;
    }

    function tables() {
      const literals = take(5) + 257, distances = take(5) + 1, codes = take(4) + 4;
      const first = new Array(19).fill(0), lengths = [];
      for (let place = 0; place < codes; place++) first[ORDER[place]] = take(3);
      const code = table(first);
      while (lengths.length < literals + distances) {
        const found = symbol(code);
        if (found < 16) { lengths.push(found); continue; }
        const value = found === 16 ? lengths[lengths.length - 1] : 0;
        let times = found === 16 ? 3 + take(2) : found === 17 ? 3 + take(3) : 11 + take(7);
        while (times--) lengths.push(value);
      }
      return [table(lengths.slice(0, literals)), table(lengths.slice(literals))];
    }

    while (!last) {
      last = take(1);
      const kind = take(2);
      if (kind === 0) {
        if (bit) { bit = 0; at++; }
        const many = source[at] | (source[at + 1] << 8);
        at += 4;
        for (let place = 0; place < many; place++) put(source[at++]);
        continue;
      }
      const [literal, distance] = kind === 1 ? FIXED : tables();
      for (let found = symbol(literal); found !== 256; found = symbol(literal)) {
        if (found < 256) { put(found); continue; }
        const [base, extra] = LENGTHS[found - 257];
        const many = base + take(extra);
        const [far, farther] = DISTANCES[symbol(distance)];
        const from = far + take(farther);
        for (let place = 0; place < many; place++) put(out[size - from]);
      }
    }
    return out.subarray(0, size);
  }

  return { inflate };
})();
