"use strict";

// The forward pass of an mlpkit network: pure functions, independent of the page.
// Sums of float32 weights are computed in float64, so they are at least as accurate as torch's.
const mlpkitForward = (() => {
  const SELU_SCALE = 1.0507009873554804934193349852946;
  const SELU_ALPHA = 1.6732632423543772848170429916717;

  const sigmoid = (x) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));
  const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
  const clamp = (x, low, high) => Math.min(Math.max(x, low), high);

  // erfc: a power series where it converges fast, a continued fraction in the tail.
  // Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.6 and 7.1.14.
  function erfc(x) {
    if (x < 0) return 2 - erfc(-x);
    if (x > 27) return 0;
    if (x < 2.5) {
      let term = x;
      let sum = x;
      for (let n = 1; term > 1e-17 * sum; n += 1) {
        term *= (2 * x * x) / (2 * n + 1);
        sum += term;
      }
      return 1 - (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
    }
    let fraction = x;
    for (let n = 60; n >= 1; n -= 1) fraction = x + n / 2 / fraction;
    return Math.exp(-x * x) / (Math.sqrt(Math.PI) * fraction);
  }

  const gelu = (x) => 0.5 * x * erfc(-x / Math.SQRT2);
  const geluTanh = (x) =>
    0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)));

  // Element-wise activations: (options) => (x) => y; the options have the names of torch.
  const ELEMENTWISE = {
    celu: (o) => (x) => Math.max(0, x) + Math.min(0, o.alpha * Math.expm1(x / o.alpha)),
    elu: (o) => (x) => (x > 0 ? x : o.alpha * Math.expm1(x)),
    gelu: (o) => (o.approximate === "tanh" ? geluTanh : gelu),
    hardshrink: (o) => (x) => (Math.abs(x) > o.lambd ? x : 0),
    hardsigmoid: () => (x) => clamp(x + 3, 0, 6) / 6,
    hardswish: () => (x) => (x * clamp(x + 3, 0, 6)) / 6,
    hardtanh: (o) => (x) => clamp(x, o.min_val, o.max_val),
    identity: () => (x) => x,
    leaky_relu: (o) => (x) => (x > 0 ? x : o.negative_slope * x),
    logsigmoid: () => (x) => -softplus(-x),
    mish: () => (x) => x * Math.tanh(softplus(x)),
    relu: () => (x) => Math.max(0, x),
    relu6: () => (x) => clamp(x, 0, 6),
    // In eval mode the slope is the mean of its range.
    rrelu: (o) => (x) => (x > 0 ? x : ((o.lower + o.upper) / 2) * x),
    selu: () => (x) => SELU_SCALE * (x > 0 ? x : SELU_ALPHA * Math.expm1(x)),
    sigmoid: () => sigmoid,
    silu: () => (x) => x * sigmoid(x),
    softplus: (o) => (x) => (o.beta * x > o.threshold ? x : softplus(o.beta * x) / o.beta),
    softshrink: (o) => (x) => (x > o.lambd ? x - o.lambd : x < -o.lambd ? x + o.lambd : 0),
    softsign: () => (x) => x / (1 + Math.abs(x)),
    tanh: () => Math.tanh,
    tanhshrink: () => (x) => x - Math.tanh(x),
    threshold: (o) => (x) => (x > o.threshold ? x : o.value),
  };

  // Gated units: value * gate(input); the first half of the features are values.
  const GATES = {
    geglu: gelu,
    glu: sigmoid,
    reglu: (x) => Math.max(0, x),
    swiglu: (x) => x * sigmoid(x),
  };

  function maxout(z, pieces) {
    return Float64Array.from({ length: z.length / pieces }, (_, unit) => {
      let largest = -Infinity;
      for (let j = 0; j < pieces; j += 1) largest = Math.max(largest, z[unit * pieces + j]);
      return largest;
    });
  }

  function prelu(z, slopes) {
    return z.map((x, i) => (x > 0 ? x : slopes[slopes.length === 1 ? 0 : i] * x));
  }

  function activate(activation, z) {
    const { name } = activation;
    if (name === "maxout") return maxout(z, activation.num_pieces);
    if (name === "prelu") return prelu(z, activation.weight);
    if (Object.hasOwn(GATES, name)) {
      const half = z.length / 2;
      const gate = GATES[name];
      return z.slice(0, half).map((value, i) => value * gate(z[half + i]));
    }
    if (!Object.hasOwn(ELEMENTWISE, name)) throw new Error(`unknown activation ${name}`);
    return z.map(ELEMENTWISE[name](activation));
  }

  const mean = (values) => values.reduce((sum, x) => sum + x, 0) / values.length;

  // Norms: (norm, z) => (i) => [center, scale] of feature i.
  const NORMS = {
    batch: (norm) => (i) => [norm.mean[i], 1 / Math.sqrt(norm.var[i] + norm.eps)],
    layer: (norm, z) => {
      const center = mean(z);
      const scale = 1 / Math.sqrt(mean(z.map((x) => (x - center) ** 2)) + norm.eps);
      return () => [center, scale];
    },
    rms: (norm, z) => {
      const scale = 1 / Math.sqrt(mean(z.map((x) => x * x)) + norm.eps);
      return () => [0, scale];
    },
  };

  function normalize(norm, z) {
    if (norm === null) return z;
    const statistics = NORMS[norm.name](norm, z);
    return z.map((x, i) => {
      const [center, scale] = statistics(i);
      const y = (x - center) * scale;
      return y * (norm.weight ? norm.weight[i] : 1) + (norm.bias ? norm.bias[i] : 0);
    });
  }

  function affine(linear, x) {
    const { weight, bias, inputs, outputs } = linear;
    const z = new Float64Array(outputs);
    for (let row = 0; row < outputs; row += 1) {
      let sum = bias ? bias[row] : 0;
      const start = row * inputs;
      for (let i = 0; i < inputs; i += 1) sum += weight[start + i] * x[i];
      z[row] = sum;
    }
    return z;
  }

  // Return the output of the linear map, the input of the activation and the output of a layer.
  function runLayer(layer, x) {
    const sums = affine(layer.linear, x);
    const preactivation = normalize(layer.norm, sums);
    const output = activate(layer.activation, preactivation);
    return {
      sums,
      preactivation,
      output: layer.skip ? output.map((h, i) => h + x[i]) : output,
    };
  }

  const standardize = ({ mean: center, std }, pixels) =>
    Float64Array.from(pixels, (x, i) => {
      const [m, s] = [center, std].map((values) => values[values.length === 1 ? 0 : i]);
      return (x - m) / s;
    });

  function softmax(logits, temperature) {
    const largest = logits.reduce((a, b) => Math.max(a, b), -Infinity);
    const powers = logits.map((x) => Math.exp((x - largest) / temperature));
    const sum = powers.reduce((a, b) => a + b, 0);
    return powers.map((x) => x / sum);
  }

  // Return all intermediate values from raw pixels to class probabilities.
  function run(model, pixels) {
    const input = standardize(model, pixels);
    const layers = [];
    let x = input;
    for (const layer of model.layers) {
      layers.push(runLayer(layer, x));
      x = layers.at(-1).output;
    }
    const head = runLayer(model.head, x);
    return {
      input,
      layers,
      head,
      logits: head.output,
      probabilities: softmax(head.output, model.temperature),
    };
  }

  function bytes(base64) {
    const text = atob(base64);
    const array = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i += 1) array[i] = text.charCodeAt(i);
    return array;
  }

  // Decode little-endian float32 on machines with any byte order.
  function floats(base64) {
    const array = bytes(base64);
    const view = new DataView(array.buffer);
    const values = new Float32Array(array.length / 4);
    for (let i = 0; i < values.length; i += 1) values[i] = view.getFloat32(4 * i, true);
    return values;
  }

  // Replace every {"offset", "length"} of a description by a view of the weights.
  function withWeights(part, weights) {
    if (Array.isArray(part)) return part.map((item) => withWeights(item, weights));
    if (part === null || typeof part !== "object") return part;
    const keys = Object.keys(part);
    if (keys.length === 2 && "offset" in part && "length" in part) {
      return weights.subarray(part.offset, part.offset + part.length);
    }
    return Object.fromEntries(keys.map((key) => [key, withWeights(part[key], weights)]));
  }

  return {
    ACTIVATIONS: [...Object.keys(ELEMENTWISE), ...Object.keys(GATES), "maxout", "prelu"].sort(),
    GATED: Object.keys(GATES).sort(),
    NORMS: Object.keys(NORMS).sort(),
    bytes,
    floats,
    run,
    withWeights,
  };
})();

if (typeof module !== "undefined") module.exports = mlpkitForward;
