"use strict";

// The drawing board: strokes by mouse, touch, pen or keyboard, on top of an optional example.
const mlpkitBoard = (() => {
  const LONG_SIDE = 560; // pixels of the longer side: 20 per pixel of a 28x28 image
  const INK = "#f5f7fb";
  const STEP = 14;

  const midpoint = (a, b) => ({ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });

  class Board {
    // canvas: the visible board. onChange: called after each change of the ink.
    constructor(canvas, { rows, columns, pen, onChange }) {
      const unit = LONG_SIDE / Math.max(rows, columns);
      canvas.width = Math.round(columns * unit);
      canvas.height = Math.round(rows * unit);
      this.canvas = canvas;
      this.view = canvas.getContext("2d");
      // The ink without the example, as input of the network: alpha is the amount of ink.
      this.layer = new OffscreenCanvas(canvas.width, canvas.height);
      this.ink = this.layer.getContext("2d", { willReadFrequently: true });
      this.onChange = onChange;
      this.pen = pen;
      this.strokes = [];
      this.pointer = null;
      this.cursor = { x: canvas.width / 2, y: canvas.height / 2, down: false };
      this.held = new Set();
      this.background = null;
      this.listen();
      this.repaint();
    }

    get isEmpty() {
      return this.strokes.length === 0;
    }

    // Return the amount of ink of each pixel, 0 to 1.
    read() {
      const { width, height } = this.canvas;
      const { data } = this.ink.getImageData(0, 0, width, height);
      return Float32Array.from({ length: width * height }, (_, i) => data[4 * i + 3] / 255);
    }

    clear() {
      this.lift();
      this.strokes = [];
      this.background = null;
      this.redraw();
    }

    undo() {
      this.lift();
      this.strokes.pop();
      this.redraw();
    }

    // Show an example under the strokes: a canvas, scaled to the board.
    show(example) {
      this.clear();
      this.background = example;
      this.repaint();
    }

    begin(point) {
      this.strokes.push([point]);
      this.paint(this.strokes.length - 1, 0);
      this.changed();
    }

    extend(point) {
      const stroke = this.strokes.at(-1);
      stroke.push(point);
      this.paint(this.strokes.length - 1, stroke.length - 1);
      this.changed();
    }

    changed() {
      this.repaint();
      this.onChange();
    }

    redraw() {
      this.ink.clearRect(0, 0, this.canvas.width, this.canvas.height);
      this.strokes.forEach((stroke, s) => stroke.forEach((_, i) => this.paint(s, i)));
      this.changed();
    }

    // Paint the segment of stroke s that ends at its point i: a curve between two midpoints.
    paint(s, i) {
      const stroke = this.strokes[s];
      const [before, last, point] = [stroke[i - 2], stroke[i - 1], stroke[i]];
      const { ink } = this;
      Object.assign(ink, { lineCap: "round", lineJoin: "round", strokeStyle: INK });
      ink.lineWidth = point.width;
      ink.beginPath();
      if (last === undefined) {
        ink.moveTo(point.x, point.y);
        ink.lineTo(point.x, point.y);
      } else {
        const from = before === undefined ? last : midpoint(before, last);
        const to = midpoint(last, point);
        ink.moveTo(from.x, from.y);
        ink.quadraticCurveTo(last.x, last.y, to.x, to.y);
        ink.lineTo(point.x, point.y);
      }
      ink.stroke();
    }

    repaint() {
      const { view, canvas } = this;
      view.clearRect(0, 0, canvas.width, canvas.height); // the style sheet sets the background
      if (this.background !== null) {
        view.imageSmoothingEnabled = this.background.width > 16; // smaller images would be blurred
        view.imageSmoothingQuality = "high";
        view.drawImage(this.background, 0, 0, canvas.width, canvas.height);
      }
      view.drawImage(this.layer, 0, 0);
      if (canvas.matches(":focus-visible")) this.paintCursor();
    }

    paintCursor() {
      const { view, cursor } = this;
      view.beginPath();
      view.arc(cursor.x, cursor.y, Math.max(this.pen / 2, 6), 0, 2 * Math.PI);
      view.lineWidth = 8;
      view.strokeStyle = "#05080f";
      view.stroke();
      view.lineWidth = 4;
      view.strokeStyle = cursor.down ? "#e69f00" : "#56b4e9";
      view.stroke();
    }

    listen() {
      const { canvas } = this;
      canvas.addEventListener("pointerdown", (event) => this.onPointerDown(event));
      canvas.addEventListener("pointermove", (event) => this.onPointerMove(event));
      for (const type of ["pointerup", "pointercancel", "lostpointercapture"]) {
        canvas.addEventListener(type, (event) => {
          if (event.pointerId === this.pointer) this.pointer = null;
        });
      }
      canvas.addEventListener("keydown", (event) => this.onKeyDown(event));
      canvas.addEventListener("keyup", (event) => this.held.delete(event.key));
      canvas.addEventListener("focus", () => this.repaint());
      canvas.addEventListener("blur", () => {
        this.held.clear();
        this.lift();
        this.repaint();
      });
    }

    onPointerDown(event) {
      if (event.button !== 0 || this.pointer !== null) return; // ignore a second finger
      this.lift();
      this.pointer = event.pointerId;
      this.canvas.setPointerCapture(event.pointerId);
      this.begin(this.locate(event));
    }

    onPointerMove(event) {
      if (event.pointerId !== this.pointer) return;
      const events = event.getCoalescedEvents?.() ?? [];
      for (const part of events.length > 0 ? events : [event]) this.extend(this.locate(part));
    }

    locate(event) {
      const box = this.canvas.getBoundingClientRect();
      // Only a pen reports a meaningful pressure; it varies the width of the line.
      const scale = event.pointerType === "pen" ? 0.6 + 0.8 * event.pressure : 1;
      return {
        x: ((event.clientX - box.left) / box.width) * this.canvas.width,
        y: ((event.clientY - box.top) / box.height) * this.canvas.height,
        width: this.pen * scale,
      };
    }

    onKeyDown(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === " ") {
        event.preventDefault();
        if (event.repeat) return;
        if (this.cursor.down) this.lift();
        else this.lower();
        this.repaint();
      } else if (event.key === "Escape") {
        this.lift();
        this.repaint();
      } else if (event.key.startsWith("Arrow")) {
        event.preventDefault();
        this.held.add(event.key);
        this.step(event.shiftKey ? 3 * STEP : STEP);
      }
    }

    lower() {
      this.cursor.down = true;
      this.begin({ x: this.cursor.x, y: this.cursor.y, width: this.pen });
    }

    lift() {
      this.cursor.down = false;
    }

    // Move the pen; two arrow keys held together move it diagonally.
    step(distance) {
      const { held, cursor, canvas } = this;
      const direction = (plus, minus) => (held.has(plus) ? 1 : 0) - (held.has(minus) ? 1 : 0);
      const x = cursor.x + distance * direction("ArrowRight", "ArrowLeft");
      const y = cursor.y + distance * direction("ArrowDown", "ArrowUp");
      cursor.x = Math.min(Math.max(x, 0), canvas.width);
      cursor.y = Math.min(Math.max(y, 0), canvas.height);
      if (cursor.down) this.extend({ x: cursor.x, y: cursor.y, width: this.pen });
      else this.repaint();
    }
  }

  return { Board };
})();
