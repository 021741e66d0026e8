// SHA-256 of short ASCII texts, synchronously: a proof of work needs some 65,000 of them, and the browser's own is
// asynchronous (ten times slower in a loop) and absent from pages that came without TLS.
const K = new Uint32Array(64);
const START = new Uint32Array(8);
for (let n = 2, found = 0; found < 64; n++) {
  let prime = true;
  for (let d = 2; d * d <= n; d++) if (n % d === 0) prime = false;
  if (!prime) continue;
  const fraction = (root: number) => ((root - Math.floor(root)) * 2 ** 32) >>> 0;
  if (found < 8) START[found] = fraction(Math.sqrt(n));
  K[found++] = fraction(Math.cbrt(n));
}

const words = new Uint32Array(64);
const turn = (x: number, by: number) => (x >>> by) | (x << (32 - by));

/** The first 32 bits of the digest, which is all that a proof is judged by. */
export function firstBits(text: string): number {
  return digest(text)[0]!;
}

export function digest(text: string): Uint32Array {
  const size = text.length;
  const blocks = (size + 9 + 63) >> 6;
  const bytes = new Uint8Array(blocks * 64);
  for (let n = 0; n < size; n++) bytes[n] = text.charCodeAt(n);
  bytes[size] = 0x80;
  const view = new DataView(bytes.buffer);
  view.setUint32(bytes.length - 4, size * 8);
  const state = START.slice();
  for (let block = 0; block < blocks; block++) {
    for (let n = 0; n < 16; n++) words[n] = view.getUint32(block * 64 + n * 4);
    for (let n = 16; n < 64; n++) {
      const a = words[n - 15]!, b = words[n - 2]!;
      const s0 = turn(a, 7) ^ turn(a, 18) ^ (a >>> 3);
      const s1 = turn(b, 17) ^ turn(b, 19) ^ (b >>> 10);
      words[n] = (words[n - 16]! + s0 + words[n - 7]! + s1) | 0;
    }
    let [a, b, c, d, e, f, g, h] = state as unknown as [number, number, number, number, number, number, number, number];
    for (let n = 0; n < 64; n++) {
      const one = (h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + K[n]! + words[n]!) | 0;
      const two = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g; g = f; f = e; e = (d + one) | 0; d = c; c = b; b = a; a = (one + two) | 0;
    }
    [a, b, c, d, e, f, g, h].forEach((value, n) => (state[n] = (state[n]! + value) | 0));
  }
  return state;
}
