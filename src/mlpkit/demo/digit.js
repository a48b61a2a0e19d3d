"use strict";

// Preprocessing of drawings into input images of a network: pure functions.
const mlpkitDigit = (() => {
  const FAINTEST = 0.1; // smallest share of full ink that is part of a stroke

  // Return the bounding box of the ink in pixels, bottom and right exclusive; null without ink.
  function inkBox(ink, width, height) {
    let [top, left, bottom, right] = [height, width, 0, 0];
    for (let row = 0; row < height; row += 1) {
      for (let column = 0; column < width; column += 1) {
        if (ink[row * width + column] <= FAINTEST) continue;
        top = Math.min(top, row);
        bottom = row + 1;
        left = Math.min(left, column);
        right = Math.max(right, column + 1);
      }
    }
    return bottom === 0 ? null : { top, left, bottom, right };
  }

  // For each of `count` equal parts of [start, end), return its source pixels and their weights:
  // a triangle as wide as two parts, the anti-aliased bilinear filter of torch and Pillow.
  function shares(start, end, count) {
    const step = (end - start) / count;
    const reach = Math.max(step, 1);
    return Array.from({ length: count }, (_, part) => {
      const middle = start + (part + 0.5) * step;
      const first = Math.max(Math.floor(middle - reach + 0.5), start);
      const last = Math.min(Math.floor(middle + reach + 0.5), end);
      const weights = [];
      for (let pixel = first; pixel < last; pixel += 1) {
        weights.push(Math.max(0, 1 - Math.abs(pixel + 0.5 - middle) / reach));
      }
      const sum = weights.reduce((a, b) => a + b, 0);
      return weights.map((weight, i) => [first + i, weight / sum]);
    });
  }

  // Resize the ink inside a box with anti-aliasing, first horizontally, then vertically.
  function resize(ink, width, box, rows, columns) {
    const height = box.bottom - box.top;
    const across = shares(box.left, box.right, columns);
    const narrow = new Float64Array(height * columns);
    for (let y = 0; y < height; y += 1) {
      const start = (box.top + y) * width;
      for (let column = 0; column < columns; column += 1) {
        let sum = 0;
        for (const [x, share] of across[column]) sum += ink[start + x] * share;
        narrow[y * columns + column] = sum;
      }
    }
    const resized = new Float64Array(rows * columns);
    shares(0, height, rows).forEach((down, row) => {
      for (const [y, share] of down) {
        for (let column = 0; column < columns; column += 1) {
          resized[row * columns + column] += narrow[y * columns + column] * share;
        }
      }
    });
    return resized;
  }

  // Return the mean row and column of the ink, in pixels counted from 0.
  function centerOfMass(image, rows, columns) {
    let [mass, y, x] = [0, 0, 0];
    for (let row = 0; row < rows; row += 1) {
      for (let column = 0; column < columns; column += 1) {
        const value = image[row * columns + column];
        mass += value;
        y += value * row;
        x += value * column;
      }
    }
    return [y / mass, x / mass];
  }

  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  // Scale ink to raw values, rounded as in the training images unless white is 1.
  const inUnits = (image, white) =>
    image.map((value) => (white === 1 ? value : Math.round(value * white)));

  // Preprocess a drawing like the images of MNIST (LeCun et al. 1998, section III.A): scale the ink
  // into a square box with its aspect ratio kept, move it by whole pixels until its center of mass
  // is on the middle pixel, and scale its largest value to white. With `by: "box"`, the center of
  // the box is on the middle pixel instead. mlpkit.data.center_digit computes the same.
  function center(ink, width, height, { rows, columns, box, by, white }) {
    const field = new Float64Array(rows * columns);
    const found = inkBox(ink, width, height);
    if (found === null) return field;
    const size = [found.bottom - found.top, found.right - found.left];
    const scale = box / Math.max(...size);
    const [tall, wide] = size.map((side) => Math.max(1, Math.round(side * scale)));
    const small = resize(ink, width, found, tall, wide);
    const [y, x] = by === "mass" ? centerOfMass(small, tall, wide) : [tall / 2, wide / 2];
    const top = clamp(Math.round(rows / 2 - y), 0, rows - tall);
    const left = clamp(Math.round(columns / 2 - x), 0, columns - wide);
    const strongest = small.reduce((most, value) => Math.max(most, value), 0);
    for (let row = 0; row < tall; row += 1) {
      const line = small.subarray(row * wide, (row + 1) * wide);
      field.set(line.map((value) => value / strongest), (top + row) * columns + left);
    }
    return inUnits(field, white);
  }

  // Resize the whole board without centering.
  function shrink(ink, width, height, { rows, columns, white }) {
    const whole = { top: 0, left: 0, bottom: height, right: width };
    return inUnits(resize(ink, width, whole, rows, columns), white);
  }

  return { center, shrink };
})();

if (typeof module !== "undefined") module.exports = mlpkitDigit;
