"use strict";

// Visual components: color scales, images, unit maps, bars. They do not depend on the model.
const mlpkitCharts = (() => {
  const INK = [245, 247, 251]; // as on the board; the style sheet sets the background
  const STEPS = 64; // colors on each side of zero
  const LARGEST_CELL = 40; // pixels

  const mix = (a, b, t) => a.map((value, i) => Math.round(value + (b[i] - value) * t));

  function hexColor(text) {
    const digits = text.trim().slice(1);
    return [0, 2, 4].map((i) => parseInt(digits.slice(i, i + 2), 16));
  }

  // A diverging color scale from orange (negative) to blue (positive), which are distinguishable
  // with every type of color vision. The style sheet defines the colors for light and dark mode.
  function readPalette() {
    const style = getComputedStyle(document.documentElement);
    const color = (name) => hexColor(style.getPropertyValue(name));
    const zero = color("--zero");
    const side = (half, full) =>
      Array.from({ length: STEPS + 1 }, (_, i) => {
        const t = i / STEPS;
        return t < 0.5 ? mix(zero, half, 2 * t) : mix(half, full, 2 * t - 1);
      });
    return {
      below: side(color("--below"), color("--far-below")),
      above: side(color("--above"), color("--far-above")),
    };
  }

  function signedColor(palette, value, scale) {
    const t = scale > 0 ? Math.min(Math.abs(value) / scale, 1) : 0;
    return (value < 0 ? palette.below : palette.above)[Math.round(t * STEPS)];
  }

  const largest = (values) => values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);

  // Round up to 1, 2 or 5 times a power of ten, so that the scale changes rarely.
  function niceScale(value) {
    if (!(value > 0)) return 1;
    const power = 10 ** Math.floor(Math.log10(value));
    return power * [1, 2, 5, 10].find((factor) => value <= factor * power * 1.0001);
  }

  // Paint one canvas pixel per number; the style sheet enlarges the canvas.
  function paintPixels(canvas, rows, columns, colorOf) {
    Object.assign(canvas, { width: columns, height: rows });
    const context = canvas.getContext("2d");
    const image = context.createImageData(columns, rows);
    for (let i = 0; i < rows * columns; i += 1) {
      const [red, green, blue, opacity = 1] = colorOf(i);
      image.data.set([red, green, blue, 255 * opacity], 4 * i);
    }
    context.putImageData(image, 0, 0);
  }

  function paintImage(canvas, pixels, { rows, columns, white }) {
    const share = (value) => Math.min(Math.max(value / white, 0), 1);
    paintPixels(canvas, rows, columns, (i) => [...INK, share(pixels[i])]);
  }

  // Paint signed numbers in a grid; the last row may be shorter.
  function paintSigned(canvas, values, columns, palette) {
    const scale = largest(values);
    paintPixels(canvas, Math.ceil(values.length / columns), columns, (i) =>
      i < values.length ? signedColor(palette, values[i], scale) : [0, 0, 0, 0],
    );
  }

  // Return the number of columns that makes the cells of a grid largest. Grids with a full last row
  // and an aspect ratio near 1.6 are preferred if their cells are at most 30 % smaller.
  function gridColumns(units, width, height, largestCell) {
    const cellOf = (columns) =>
      Math.min(largestCell, width / columns, height / Math.ceil(units / columns));
    const all = Array.from({ length: units }, (_, i) => i + 1);
    const best = (candidates) => candidates.reduce((a, b) => (cellOf(b) >= cellOf(a) ? b : a));
    const any = best(all);
    const full = all.filter(
      (columns) => units % columns === 0 && cellOf(columns) >= 0.7 * cellOf(any),
    );
    const oddness = (columns) => Math.abs(Math.log((columns * columns) / units / 1.6));
    return full.length === 0 ? any : full.reduce((a, b) => (oddness(b) < oddness(a) ? b : a));
  }

  // The units of one layer as cells; one can be selected by pointer or keyboard.
  class UnitMap {
    constructor(canvas, { name, units, onPoint, onClick, onStep }) {
      Object.assign(this, { canvas, name, units, onStep });
      this.values = null;
      this.chosen = null;
      canvas.tabIndex = 0;
      canvas.setAttribute("role", "slider");
      canvas.setAttribute("aria-label", `${name}: unit`);
      canvas.setAttribute("aria-valuemin", "1");
      canvas.setAttribute("aria-valuemax", String(units));
      this.updateAria();
      canvas.addEventListener("pointermove", (event) => onPoint(this.unitAt(event)));
      canvas.addEventListener("pointerleave", () => onPoint(null));
      canvas.addEventListener("click", (event) => onClick(this.unitAt(event)));
      canvas.addEventListener("keydown", (event) => this.onKeyDown(event));
    }

    resize(width, height) {
      const { canvas, units } = this;
      this.columns = gridColumns(units, width, height, LARGEST_CELL);
      this.rows = Math.ceil(units / this.columns);
      const cell = Math.min(LARGEST_CELL, width / this.columns, height / this.rows);
      const ratio = window.devicePixelRatio || 1;
      this.cell = Math.max(1, Math.floor(cell * ratio)); // in device pixels: cells stay sharp
      this.gap = this.cell >= 5 * ratio ? Math.max(1, Math.round(ratio)) : 0;
      canvas.width = this.cell * this.columns;
      canvas.height = this.cell * this.rows;
      canvas.style.width = `${canvas.width / ratio}px`;
      canvas.style.height = `${canvas.height / ratio}px`;
    }

    place(unit) {
      return [(unit % this.columns) * this.cell, Math.floor(unit / this.columns) * this.cell];
    }

    draw(values, scale, palette) {
      Object.assign(this, { values, scale, palette });
      const context = this.canvas.getContext("2d");
      const side = this.cell - this.gap;
      context.clearRect(0, 0, this.canvas.width, this.canvas.height);
      for (let unit = 0; unit < this.units; unit += 1) {
        const value = values === null ? 0 : values[unit];
        context.fillStyle = `rgb(${signedColor(palette, value, scale).join(" ")})`;
        context.fillRect(...this.place(unit), side, side);
      }
      if (this.chosen !== null) this.drawFrame(context);
      this.updateAria();
    }

    drawFrame(context) {
      const style = getComputedStyle(document.documentElement);
      const [x, y] = this.place(this.chosen);
      const edge = 2 * (window.devicePixelRatio || 1);
      context.strokeStyle = style.getPropertyValue("--text");
      context.lineWidth = edge;
      const inset = this.cell > 4 * edge ? edge / 2 : -edge / 2;
      const side = this.cell - this.gap - 2 * inset;
      context.strokeRect(x + inset, y + inset, side, side);
    }

    choose(unit) {
      this.chosen = unit;
      this.draw(this.values, this.scale, this.palette);
    }

    updateAria() {
      const unit = this.chosen ?? 0;
      const value = this.values === null ? "nothing drawn" : formatNumber(this.values[unit]);
      this.canvas.setAttribute("aria-valuenow", String(unit + 1));
      this.canvas.setAttribute("aria-valuetext", `unit ${unit + 1} of ${this.units}: ${value}`);
    }

    unitAt(event) {
      const box = this.canvas.getBoundingClientRect();
      const column = Math.floor(((event.clientX - box.left) / box.width) * this.columns);
      const row = Math.floor(((event.clientY - box.top) / box.height) * this.rows);
      const unit = row * this.columns + column;
      const inside = column >= 0 && column < this.columns && row >= 0 && unit < this.units;
      return inside ? unit : null;
    }

    onKeyDown(event) {
      const { units, columns } = this;
      const steps = {
        ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns,
        Home: -units, End: units,
      };
      if (event.key === "Escape") this.onStep(null);
      if (!Object.hasOwn(steps, event.key)) return;
      event.preventDefault();
      const next = this.chosen === null ? 0 : this.chosen + steps[event.key];
      const isRowStep = event.key === "ArrowUp" || event.key === "ArrowDown";
      if (isRowStep && (next < 0 || next >= units)) return;
      this.onStep(Math.min(Math.max(next, 0), units - 1));
    }
  }

  // One bar per class; a bar can be hovered and clicked.
  class Bars {
    constructor(list, { classes, onPoint, onClick }) {
      this.rows = classes.map((name, index) => {
        const button = element("button", { type: "button", className: "bar" }, [
          element("span", { className: "bar-name", textContent: name }),
          element("span", { className: "bar-track" }, [element("i", { className: "bar-fill" })]),
          element("span", { className: "bar-value" }),
        ]);
        button.addEventListener("pointerenter", () => onPoint(index));
        button.addEventListener("pointerleave", () => onPoint(null));
        button.addEventListener("focus", () => onPoint(index));
        button.addEventListener("blur", () => onPoint(null));
        button.addEventListener("click", () => onClick(index));
        const item = element("li", {}, [button]);
        list.append(item);
        return item;
      });
      const letters = Math.max(...classes.map((name) => name.length));
      list.style.setProperty("--name-width", `${Math.min(letters, 14) + 0.5}ch`);
      list.dataset.size = classes.length <= 12 ? "few" : "many";
    }

    draw(probabilities, winner) {
      this.rows.forEach((item, index) => {
        const p = probabilities === null ? 0 : probabilities[index];
        item.classList.toggle("wins", index === winner);
        item.dataset.probability = String(p);
        item.querySelector(".bar-fill").style.transform = `scaleX(${p})`;
        item.querySelector(".bar-value").textContent =
          probabilities === null ? "" : formatPercent(p);
      });
    }

    choose(index) {
      this.rows.forEach((item, i) => {
        item.firstChild.classList.toggle("chosen", i === index);
      });
    }
  }

  function element(tag, properties, children = []) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  }

  function formatPercent(p) {
    if (p > 0 && p < 0.0005) return "<0.1\u202f%";
    if (p < 1 && p >= 0.9995) return ">99.9\u202f%";
    return `${(100 * p).toFixed(1)}\u202f%`;
  }

  function formatNumber(value) {
    const size = Math.abs(value);
    const digits = size !== 0 && (size < 0.001 || size >= 1e5) ? null : size < 10 ? 2 : 1;
    const text = digits === null ? size.toExponential(1) : size.toFixed(digits);
    return value < 0 && Number(text) !== 0 ? `\u2212${text}` : text;
  }

  return {
    Bars, UnitMap, element, formatNumber, formatPercent, largest, niceScale,
    paintImage, paintSigned, readPalette,
  };
})();
