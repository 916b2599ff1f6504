// The network: its layers in the order of the forward pass, on one example.

// Numbers of 16 bits (1 sign, 5 exponent, 10 fraction) as float32.
function fromHalf(bytes) {
  const words = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2), out = new Float32Array(words.length);
  for (let i = 0; i < words.length; i++) {
    const sign = words[i] & 0x8000 ? -1 : 1, exponent = (words[i] >> 10) & 31, fraction = words[i] & 1023;
    if (exponent === 0) out[i] = sign * fraction * 2 ** -24;
    else if (exponent === 31) out[i] = fraction ? NaN : sign * Infinity;
    else out[i] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  return out;
}

function fromBase64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

// Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 7.1.26: an error of at most 1.5e-7.
function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const tail = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  return Math.sign(x) * (1 - tail * Math.exp(-x * x));
}

const ELEMENTWISE = {
  ReLU: () => (x) => Math.max(0, x),
  LeakyReLU: ({ slope }) => (x) => (x > 0 ? x : slope * x),
  ELU: ({ alpha }) => (x) => (x > 0 ? x : alpha * Math.expm1(x)),
  GELU: () => (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  Tanh: () => Math.tanh,
  Sigmoid: () => (x) => 1 / (1 + Math.exp(-x)),
  Softplus: () => (x) => Math.max(0, x) + Math.log1p(Math.exp(-Math.abs(x))),
};

function softmax(z) {
  const largest = Math.max(...z), powers = z.map((value) => Math.exp(value - largest));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

class Network {
  constructor({ layers, weights }) {
    const numbers = fromHalf(fromBase64(weights));
    let start = 0;
    const take = (count) => numbers.subarray(start, (start += count));
    this.layers = layers.map((layer) => {
      if (layer.type === "Dense") return { ...layer, W: take(layer.n_in * layer.n_out), b: take(layer.n_out) };
      if (layer.type === "Affine") return { ...layer, scale: take(layer.n_in), shift: take(layer.n_in) };
      return layer;
    });
  }

  // The outputs for one example, an array of numbers.
  predict(x) {
    return this.layers.reduce((values, layer) => {
      if (layer.type === "Dense") return dense(values, layer);
      if (layer.type === "Affine") return Float64Array.from(values, (value, i) => value * layer.scale[i] + layer.shift[i]);
      if (layer.type === "Softmax") return softmax(values);
      return values.map(ELEMENTWISE[layer.type](layer));
    }, Float64Array.from(x));
  }

  get first() {
    return this.layers.find((layer) => layer.type === "Dense");
  }
}

function dense(x, { W, b, n_in, n_out }) {
  const out = Float64Array.from(b);
  for (let i = 0; i < n_in; i++) {
    if (x[i] === 0) continue;
    for (let j = 0; j < n_out; j++) out[j] += x[i] * W[i * n_out + j];
  }
  return out;
}
