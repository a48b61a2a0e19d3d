"use strict";

// The page: it connects the board, the network and the display.
(() => {
  const { element, formatNumber, formatPercent, largest, niceScale } = mlpkitCharts;
  const byId = (id) => document.getElementById(id);
  const description = JSON.parse(byId("description").textContent);
  const weights = mlpkitForward.floats(byId("weights").textContent);
  const model = mlpkitForward.withWeights(description, weights);
  const { classes, picture } = model;
  const pictureSize = picture.rows * picture.columns;
  const examples = readExamples(model.examples);
  const NUM_BUTTONS = 20;
  const NORM_NAMES = { batch: "batch norm", layer: "layer norm", rms: "RMS norm" };

  let palette = mlpkitCharts.readPalette();
  let example = null; // index of the example on the board
  let lastExample = -1; // index of the latest example, also after the board was cleared
  let trace = null; // all values of the last forward pass; null while the board is empty
  let pixels = new Float64Array(pictureSize);
  let hovered = null; // { layer, unit } under the pointer or with the focus; layer -1 is the output
  let pinned = null; // { layer, unit } selected by a click or a key
  let isScheduled = false;

  function readExamples(packed) {
    if (packed === null) return null;
    const numbers =
      packed.encoding === "uint8"
        ? mlpkitForward.bytes(packed.inputs)
        : mlpkitForward.floats(packed.inputs);
    return packed.targets.map((target, i) => ({
      target,
      pixels: numbers.subarray(i * pictureSize, (i + 1) * pictureSize),
    }));
  }

  // ---- network input ---------------------------------------------------------------------------

  function readPixels() {
    const { width, height } = board.canvas;
    const method = example === null && byId("center").checked ? "center" : "shrink";
    let values = mlpkitDigit[method](board.read(), width, height, picture);
    if (example !== null) {
      values = values.map((value, i) => Math.max(value, examples[example].pixels[i]));
    }
    return byId("invert").checked ? values.map((value) => picture.white - value) : values;
  }

  function update() {
    isScheduled = false;
    const isEmpty = board.isEmpty && example === null;
    pixels = isEmpty ? new Float64Array(pictureSize) : readPixels();
    trace = isEmpty ? null : mlpkitForward.run(model, pixels);
    show();
  }

  function schedule() {
    if (isScheduled) return;
    isScheduled = true;
    requestAnimationFrame(update);
  }

  // ---- display ---------------------------------------------------------------------------------

  function show() {
    document.body.classList.toggle("is-empty", trace === null);
    byId("hint").hidden = trace !== null;
    exampleButtons.forEach((button, index) => {
      button.setAttribute("aria-pressed", String(index === example));
    });
    mlpkitCharts.paintImage(byId("input"), pixels, picture);
    showCaption(null);
    showAnswer();
    layers.forEach((layer, index) => layer.show(trace === null ? null : trace.layers[index]));
    showInspector();
  }

  function showCaption(index) {
    const { rows, columns, white, by } = picture;
    const size = `${rows} × ${columns} numbers from 0 to ${white}`;
    const middle =
      by === "mass"
        ? "scaled and centered by its center of mass, like the training images"
        : "scaled to fill the image, like the training images";
    const from =
      example !== null
        ? "as in the data set"
        : byId("center").checked ? middle : "with its original position and size";
    const pixel = () => {
      const place = `row ${Math.floor(index / columns) + 1}, column ${(index % columns) + 1}`;
      return `${place}: ${formatNumber(pixels[index]).replace(/\.0+$/, "")}`;
    };
    const what = example === null ? "the drawing" : "the example";
    byId("input-caption").textContent = index === null ? `${size}: ${what}, ${from}.` : pixel();
  }

  const order = (probabilities) =>
    Array.from(probabilities.keys()).sort((a, b) => probabilities[b] - probabilities[a]);

  function showAnswer() {
    const winner = byId("winner");
    if (trace === null) {
      delete winner.dataset.class;
      byId("winner-class").textContent = "?";
      byId("winner-probability").textContent = "Nothing drawn yet";
      byId("runner-up").textContent = "";
      bars.draw(null, -1);
      announce("Nothing drawn yet");
      return;
    }
    const { probabilities } = trace;
    const [first, second] = order(probabilities);
    const verdict = verdictOn(first);
    winner.dataset.class = classes[first];
    winner.dataset.length = classes[first].length > 2 ? "long" : "short";
    byId("winner-class").textContent = classes[first];
    byId("winner-probability").textContent = formatPercent(probabilities[first]);
    const next =
      second === undefined
        ? ""
        : `then ${classes[second]}, ${formatPercent(probabilities[second])}`;
    byId("runner-up").textContent = verdict === "" ? next : verdict;
    bars.draw(probabilities, first);
    announce(`${classes[first]}, ${formatPercent(probabilities[first])}; ${next}. ${verdict}`);
  }

  function verdictOn(first) {
    if (example === null || !board.isEmpty) return "";
    const { target } = examples[example];
    return `${target === first ? "✓ correct" : "✗ wrong"}, labeled ${classes[target]}`;
  }

  // Announce after a pause, so that a screen reader does not read every intermediate prediction.
  let pause = 0;
  function announce(text) {
    clearTimeout(pause);
    pause = setTimeout(() => {
      byId("announcement").textContent = text;
    }, 600);
  }

  // ---- hidden layers ---------------------------------------------------------------------------

  function layerDescription(layer) {
    const norm = layer.norm === null ? [] : [NORM_NAMES[layer.norm.name]];
    return [...norm, layer.activation.label, ...(layer.skip ? ["plus its input"] : [])].join(", ");
  }

  // The outputs of a layer are the inputs of the next linear map.
  const unitsOf = (index) =>
    (index + 1 < model.layers.length ? model.layers[index + 1] : model.head).linear.inputs;

  function makeLayer(layer, index) {
    const units = unitsOf(index);
    const name = model.layers.length === 1 ? "Hidden layer" : `Hidden layer ${index + 1}`;
    const canvas = element("canvas", {});
    const note = element("span", { className: "layer-note" });
    const figure = element("figure", { className: "layer" }, [
      element("figcaption", {}, [
        element("span", {}, [
          element("b", { textContent: name }),
          ` ${units.toLocaleString("en")} units, ${layerDescription(layer)}`,
        ]),
        note,
      ]),
      element("div", { className: "cells" }, [canvas]),
    ]);
    byId("layers").append(figure);
    const placeOf = (unit) => (unit === null ? null : { layer: index, unit });
    const map = new mlpkitCharts.UnitMap(canvas, {
      name,
      units,
      onPoint: (unit) => hover(placeOf(unit)),
      onClick: (unit) => pin(placeOf(unit), { toggles: true }),
      onStep: (unit) => pin(placeOf(unit), { toggles: false }),
    });
    return {
      map,
      name,
      resize: () => map.resize(figure.clientWidth, cellsHeight()),
      show(done) {
        const values = done === null ? null : done.output;
        const scale = niceScale(values === null ? 0 : largest(values));
        const above = values === null ? 0 : values.filter((value) => value > 0).length;
        note.textContent =
          values === null
            ? ""
            : `${Math.round((100 * above) / units)}\u202f% positive, scale ±${scale}`;
        map.draw(values, scale, palette);
      },
    };
  }

  const cellsHeight = () => Math.min(Math.max(window.innerHeight * 0.25, 150), 300);

  // ---- the weights of a unit -------------------------------------------------------------------

  const isSame = (a, b) => a !== null && b !== null && a.layer === b.layer && a.unit === b.unit;

  function hover(place) {
    hovered = place;
    showInspector();
  }

  // A click on a pinned unit unpins it.
  function pin(place, { toggles }) {
    pinned = toggles && isSame(place, pinned) ? null : place;
    hovered = null;
    showInspector();
  }

  // Return the rows of the weight matrix that belong to a unit, each with its name.
  function rowsOf(activation, unit, outputs) {
    if (activation.name === "maxout") {
      const pieces = activation.num_pieces;
      return Array.from({ length: pieces }, (_, j) => [`piece ${j + 1}`, unit * pieces + j]);
    }
    if (mlpkitForward.GATED.includes(activation.name)) {
      return [["value", unit], ["gate", outputs / 2 + unit]];
    }
    return [["weights", unit]];
  }

  function showInspector() {
    const chosen = hovered ?? pinned;
    const place = chosen ?? winnersPlace();
    layers.forEach(({ map }, index) => {
      const unit = chosen !== null && chosen.layer === index ? chosen.unit : null;
      if (map.chosen !== unit) map.choose(unit);
    });
    bars.choose(chosen !== null && chosen.layer === -1 ? chosen.unit : null);
    showPlace(place ?? { layer: -1, unit: 0 });
  }

  const winnersPlace = () =>
    trace === null ? null : { layer: -1, unit: order(trace.probabilities)[0] };

  function showPlace({ layer: index, unit }) {
    const isOutput = index === -1;
    const before = (isOutput ? model.layers.length : index) - 1;
    const layer = isOutput ? model.head : model.layers[index];
    const done = trace === null ? null : isOutput ? trace.head : trace.layers[index];
    const rows = rowsOf(layer.activation, unit, layer.linear.outputs);
    const lead = done === null ? rows[0] : leading(rows, done, layer.activation);
    byId("inspector-name").textContent = isOutput
      ? `Class \u201c${classes[unit]}\u201d`
      : `${layers[index].name}, unit ${unit + 1}`;
    byId("inspector-sum").textContent =
      done === null ? "" : sumOf({ done, layer, unit, row: lead[1], isOutput });
    const { inputs, weight } = layer.linear;
    const weightsOf = (row) => weight.subarray(row * inputs, (row + 1) * inputs);
    const maps = rows.map(([name, row]) => mapOf(name, weightsOf(row), before));
    if (done !== null) {
      const entering = before < 0 ? trace.input : trace.layers[before].output;
      const products = Float64Array.from(weightsOf(lead[1]), (w, i) => w * entering[i]);
      const name = rows.length === 1 ? "weights × inputs" : `${lead[0]} × inputs`;
      maps.push(mapOf(name, products, before));
    }
    byId("inspector-maps").replaceChildren(...maps);
  }

  // Return the largest piece of a Maxout unit, else the first row.
  function leading(rows, done, activation) {
    if (activation.name !== "maxout") return rows[0];
    return rows.reduce((a, b) => (done.preactivation[b[1]] > done.preactivation[a[1]] ? b : a));
  }

  function sumOf({ done, layer, unit, row, isOutput }) {
    const sum = `${layer.linear.bias ? "sum + bias" : "sum"} ${formatNumber(done.sums[row])}`;
    const norm = layer.norm
      ? [`${NORM_NAMES[layer.norm.name]} ${formatNumber(done.preactivation[row])}`]
      : [];
    const label = layer.activation.name === "identity" ? null : layer.activation.label;
    const after = label === null ? [] : [`${label} ${formatNumber(done.output[unit])}`];
    const share = isOutput ? [`softmax ${formatPercent(trace.probabilities[unit])}`] : [];
    return [sum, ...norm, ...after, ...share].join("  →  ");
  }

  // Return signed numbers in the layout of the input image or of the units of a layer.
  function mapOf(name, values, before) {
    const canvas = element("canvas", { className: "pixels" });
    const columns = before < 0 ? picture.columns : layers[before].map.columns;
    mlpkitCharts.paintSigned(canvas, values, columns, palette);
    const rows = Math.ceil(values.length / columns);
    canvas.style.aspectRatio = `${columns} / ${rows}`;
    canvas.style.maxWidth = `${10 * Math.sqrt(columns / rows)}rem`;
    const source = before < 0 ? "the input image" : layers[before].name.toLowerCase();
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${name} of ${source}`);
    return element("figure", { className: "map" }, [
      canvas,
      element("figcaption", { textContent: name }),
    ]);
  }

  // ---- events ----------------------------------------------------------------------------------

  const bars = new mlpkitCharts.Bars(byId("bars"), {
    classes,
    onPoint: (unit) => hover(unit === null ? null : { layer: -1, unit }),
    onClick: (unit) => pin({ layer: -1, unit }, { toggles: true }),
  });
  const exampleButtons = makeExampleButtons();
  const layers = model.layers.map(makeLayer);
  const board = new mlpkitBoard.Board(byId("board"), {
    rows: picture.rows,
    columns: picture.columns,
    pen: Number(byId("pen").value),
    onChange: schedule,
  });

  function clear() {
    example = null;
    byId("example-note").textContent = "";
    board.clear();
  }

  function imageOf(index) {
    const canvas = element("canvas", { className: "pixels" });
    mlpkitCharts.paintImage(canvas, examples[index].pixels, picture);
    return canvas;
  }

  function showExample(index) {
    board.show(imageOf(index));
    example = index;
    lastExample = index;
    byId("example-note").textContent = `example ${index + 1} of ${examples.length}`;
    schedule();
  }

  function nextExample() {
    if (examples === null) return;
    const next = example === null ? lastExample + 1 : example + 1;
    showExample(next % examples.length);
  }

  // The first examples are buttons; the key and a button for the next one show all of them.
  function makeExampleButtons() {
    const buttons = (examples ?? []).slice(0, NUM_BUTTONS).map(({ target }, index) => {
      const button = element("button", { type: "button", className: "choice" }, [imageOf(index)]);
      button.setAttribute("aria-label", `Example ${index + 1}, labeled ${classes[target]}`);
      button.title = `labeled ${classes[target]}`;
      button.addEventListener("click", () => showExample(index));
      return button;
    });
    byId("examples").append(...buttons);
    byId("credit").textContent = model.credit ?? "";
    byId("example").hidden = buttons.length === (examples ?? []).length;
    return buttons;
  }

  function undo() {
    if (board.isEmpty && example !== null) clear();
    else board.undo();
  }

  function setPen(width) {
    const pen = byId("pen");
    pen.value = String(width);
    board.pen = Number(pen.value);
    board.repaint();
  }

  function toggle(id) {
    byId(id).checked = !byId(id).checked;
    schedule();
  }

  const KEYS = {
    c: clear,
    u: undo,
    e: nextExample,
    m: () => toggle("center"),
    i: () => toggle("invert"),
    "[": () => setPen(board.pen - 4),
    "]": () => setPen(board.pen + 4),
  };

  function onKeyDown(event) {
    const isUndo = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z";
    if (isUndo) {
      event.preventDefault();
      undo();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || !byId("single-keys").checked) return;
    const key = event.key.toLowerCase();
    if (Object.hasOwn(KEYS, key)) KEYS[key]();
  }

  // Without hidden layers, show one image of weights per class.
  function showTemplates() {
    const { inputs, weight } = model.head.linear;
    const maps = classes.map((name, row) =>
      mapOf(name, weight.subarray(row * inputs, (row + 1) * inputs), -1),
    );
    const columns = Math.min(classes.length, window.innerWidth < 700 ? 5 : 10);
    byId("layers").style.gridTemplateColumns = `repeat(${columns}, minmax(0, 10rem))`;
    byId("layers").replaceChildren(...maps);
  }

  function layOut() {
    layers.forEach((layer) => layer.resize());
    if (layers.length === 0) showTemplates();
    show();
  }

  function networkDescription() {
    const input = `${picture.rows} × ${picture.columns} pixels`;
    const hidden = model.layers.map((layer, index) =>
      `${unitsOf(index).toLocaleString("en")} ${layer.activation.label}`.replaceAll(" ", "\u00a0"),
    );
    const steps = [input, ...hidden, `${classes.length}\u00a0classes`].join("  →  ");
    return `${steps}   ·   ${model.parameters.toLocaleString("en")} parameters${pooling()}`;
  }

  function pooling() {
    if (model.pooling === null) return "";
    const { factor, parameters } = model.pooling;
    const before = parameters.toLocaleString("en");
    return `, trained as ${before} on means of ${factor} × ${factor} pixels`;
  }

  byId("network").textContent = networkDescription();
  if (layers.length === 0) {
    byId("hidden-heading").textContent = "Weights of the classes";
    for (const place of document.querySelectorAll(".places")) place.textContent = "a class";
  }
  byId("clear").addEventListener("click", clear);
  byId("undo").addEventListener("click", undo);
  byId("example").addEventListener("click", nextExample);
  byId("pen").addEventListener("input", (event) => setPen(Number(event.target.value)));
  for (const id of ["center", "invert"]) byId(id).addEventListener("change", schedule);
  byId("input").addEventListener("pointermove", (event) => {
    const box = event.target.getBoundingClientRect();
    const at = (share, count) => Math.min(Math.max(Math.floor(share * count), 0), count - 1);
    const row = at((event.clientY - box.top) / box.height, picture.rows);
    const column = at((event.clientX - box.left) / box.width, picture.columns);
    showCaption(row * picture.columns + column);
  });
  byId("input").addEventListener("pointerleave", () => showCaption(null));
  document.addEventListener("keydown", onKeyDown);
  window.addEventListener("resize", layOut);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    palette = mlpkitCharts.readPalette();
    layOut();
  });
  document.body.classList.toggle("has-examples", examples !== null);
  document.body.classList.toggle("is-linear", layers.length === 0);
  byId("board").style.aspectRatio = `${picture.columns} / ${picture.rows}`;
  byId("input").style.aspectRatio = `${picture.columns} / ${picture.rows}`;
  layOut();
})();
