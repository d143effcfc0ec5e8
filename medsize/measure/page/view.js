// The picture of a slice: window, zoom, place on the screen, and places in scanner mm.

import { getSlice } from "./calls.js";

const CT_WINDOWS = [
  ["Soft tissue", -160, 240], ["Liver", -20, 140], ["Lung", -1350, 150], ["Bone", -500, 1300], ["Brain", 0, 80],
];
const KEPT_SLICES = 96;
/** Axes to the right and down, and whether down is towards lower indices, for the plane across each axis. */
const PLANES = [
  { right: 1, down: 2, turned: true, letters: ["A", "P", "S", "I"] },
  { right: 0, down: 2, turned: true, letters: ["R", "L", "S", "I"] },
  { right: 0, down: 1, turned: false, letters: ["R", "L", "A", "P"] },
];

export class View {
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.changed = changed;
    this.slices = new Map();
    this.image = document.createElement("canvas");
    this.overlay = () => {};
    this.facts = null;
    this.cursor = null;
    new ResizeObserver(() => this.resize()).observe(canvas.parentElement);
  }

  /** Show a scan, by its facts; `from` is a view of it before: plane and slices. */
  open(facts) {
    this.facts = facts;
    this.slices.clear();
    this.inverse = invert(facts.affine);
    this.spacing = [0, 1, 2].map((axis) => Math.hypot(...[0, 1, 2].map((row) => facts.affine[row][axis])));
    this.at = facts.shape.map((length) => Math.floor(length / 2));
    this.axis = facts.sliceAxis;
    const automatic = [["Automatic", ...facts.window], ["Whole range", ...facts.range]];
    this.windows = facts.colour ? [["Colour", 0, 255]] : facts.ct ? [...CT_WINDOWS, ...automatic] : automatic;
    [, this.low, this.high] = this.windows[0];
    this.preset = 0;
    this.shown = null;
    this.cursor = null;
    this.fit();
    return this.load();
  }

  get plane() {
    return PLANES[this.axis];
  }

  get count() {
    return this.facts.shape[this.axis];
  }

  setPlane(axis) {
    if (this.facts === null || this.facts.picture || axis === this.axis) return Promise.resolve();
    this.axis = axis;
    this.cursor = null;
    this.fit();
    return this.load();
  }

  setSlice(at) {
    const wanted = Math.min(Math.max(at, 0), this.count - 1);
    if (wanted === this.at[this.axis]) return Promise.resolve();
    this.at[this.axis] = wanted;
    if (this.cursor) this.cursor[this.axis] = wanted;
    return this.load();
  }

  /** Plane and slice that are shown. */
  get place() {
    return { axis: this.axis, at: this.at[this.axis] };
  }

  go({ axis, at }) {
    this.setPlane(axis);
    return this.setSlice(at);
  }

  setWindow(low, high, preset = -1) {
    if (this.facts === null || this.facts.colour) return;
    this.low = low;
    this.high = Math.max(high, low + 1e-6);
    this.preset = preset;
    this.paint();
    this.changed();
  }

  nextWindow(step = 1) {
    const next = (this.preset + step + this.windows.length) % this.windows.length;
    this.setWindow(this.windows[next][1], this.windows[next][2], next);
  }

  async load() {
    const { facts, axis } = this;
    const at = this.at[axis];
    this.draw();
    this.changed();
    const slice = await this.slice(axis, at);
    if (facts !== this.facts || axis !== this.axis || at !== this.at[axis]) return;
    this.shown = slice;
    this.paint();
    for (const near of [at + 1, at - 1, at + 2]) if (near >= 0 && near < this.count) this.slice(axis, near).catch(() => {});
  }

  slice(axis, at) {
    const key = `${axis} ${at}`;
    if (!this.slices.has(key)) {
      if (this.slices.size >= KEPT_SLICES) this.slices.delete(this.slices.keys().next().value);
      const loading = getSlice(this.facts.scan, axis, at);
      loading.catch(() => this.slices.delete(key));
      this.slices.set(key, loading);
    }
    return this.slices.get(key);
  }

  /** Turn intensities into grey. */
  paint() {
    if (this.shown === null) return;
    const { values, rows, columns, channels } = this.shown;
    const pixels = new ImageData(columns, rows);
    const factor = 255 / (this.high - this.low);
    for (let i = 0, n = rows * columns; i < n; i++) {
      for (let c = 0; c < 3; c++) {
        pixels.data[4 * i + c] = channels === 3 ? values[3 * i + c] : (values[i] - this.low) * factor;
      }
      pixels.data[4 * i + 3] = 255;
    }
    this.image.width = columns;
    this.image.height = rows;
    this.image.getContext("2d").putImageData(pixels, 0, 0);
    this.draw();
  }

  resize() {
    const { width, height } = this.canvas.parentElement.getBoundingClientRect();
    const ratio = window.devicePixelRatio || 1;
    const fitted = this.facts !== null && Math.abs(this.zoom / this.fitting() - 1) < 1e-6;
    this.width = width;
    this.height = height;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    if (fitted || this.facts === null) this.fit();
    this.draw();
  }

  /** Width and height of the slice, mm. */
  get extent() {
    const { right, down } = this.plane;
    return [this.facts.shape[right] * this.spacing[right], this.facts.shape[down] * this.spacing[down]];
  }

  fitting() {
    const [width, height] = this.extent;
    return Math.min(this.width / width, this.height / height) * 0.96;
  }

  fit() {
    if (this.facts === null || !this.width) return;
    this.zoom = this.fitting();
    this.middle = this.extent.map((length) => length / 2);
    this.draw();
  }

  /** Zoom by a factor around a place on the screen. */
  zoomBy(factor, x = this.width / 2, y = this.height / 2) {
    if (this.facts === null) return;
    const zoom = Math.min(Math.max(this.zoom * factor, this.fitting() / 4), this.fitting() * 40);
    const offset = [(x - this.width / 2), (y - this.height / 2)];
    this.middle = this.middle.map((mm, i) => mm + offset[i] / this.zoom - offset[i] / zoom);
    this.zoom = zoom;
    this.draw();
  }

  move(dx, dy) {
    if (this.facts === null) return;
    this.middle = [this.middle[0] - dx / this.zoom, this.middle[1] - dy / this.zoom];
    this.draw();
  }

  /** Place on the screen of an index of voxels. */
  screenOf(index) {
    const { right, down, turned } = this.plane;
    const row = turned ? this.facts.shape[down] - 1 - index[down] : index[down];
    return [
      ((index[right] + 0.5) * this.spacing[right] - this.middle[0]) * this.zoom + this.width / 2,
      ((row + 0.5) * this.spacing[down] - this.middle[1]) * this.zoom + this.height / 2,
    ];
  }

  /** Index of voxels, on the shown slice, of a place on the screen; kept within the slice. */
  indexOf(x, y) {
    const { right, down, turned } = this.plane;
    const column = ((x - this.width / 2) / this.zoom + this.middle[0]) / this.spacing[right] - 0.5;
    const row = ((y - this.height / 2) / this.zoom + this.middle[1]) / this.spacing[down] - 0.5;
    const index = [...this.at];
    const within = (value, axis) => Math.min(Math.max(value, -0.5), this.facts.shape[axis] - 0.5);
    index[right] = within(column, right);
    index[down] = within(turned ? this.facts.shape[down] - 1 - row : row, down);
    return index;
  }

  toMm(index) {
    return apply(this.facts.affine, index);
  }

  toIndex(mm) {
    return apply(this.inverse, mm);
  }

  mmOf(x, y) {
    return this.toMm(this.indexOf(x, y));
  }

  screenOfMm(mm) {
    return this.screenOf(this.toIndex(mm));
  }

  /** Slices from a place to the one that is shown. */
  away(mm) {
    return this.toIndex(mm)[this.axis] - this.at[this.axis];
  }

  /** Show the slice that a place lies on. */
  show(mm) {
    return this.setSlice(Math.round(this.toIndex(mm)[this.axis]));
  }

  draw() {
    if (this.facts === null || !this.width) return;
    const { context } = this;
    const ratio = window.devicePixelRatio || 1;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, this.width, this.height);
    const [width, height] = this.extent;
    const left = this.width / 2 - this.middle[0] * this.zoom;
    const top = this.height / 2 - this.middle[1] * this.zoom;
    if (this.shown !== null) {
      context.imageSmoothingEnabled = true;
      context.imageSmoothingQuality = "high";
      context.drawImage(this.image, left, top, width * this.zoom, height * this.zoom);
    }
    if (!this.facts.picture) this.letters();
    this.scale();
    if (!this.facts.colour) this.windowText();
    this.overlay(context);
    if (this.cursor) this.drawCursor();
  }

  letters() {
    const [west, east, north, south] = this.plane.letters;
    this.context.font = "600 14px system-ui, sans-serif";
    this.context.fillStyle = "#c9d4de";
    this.context.textAlign = "center";
    this.context.textBaseline = "middle";
    this.context.fillText(west, 14, this.height / 2);
    this.context.fillText(east, this.width - 14, this.height / 2);
    this.context.fillText(north, this.width / 2, 14);
    this.context.fillText(south, this.width / 2, this.height - 14);
  }

  /** A bar of a round length. */
  scale() {
    const unit = this.facts.lengthUnit;
    const most = 140 / this.zoom;
    const power = 10 ** Math.floor(Math.log10(most));
    const length = [5, 2, 1].map((digit) => digit * power).find((value) => value <= most);
    const [x, y] = [18, this.height - 22];
    this.context.strokeStyle = "#c9d4de";
    this.context.lineWidth = 2;
    this.context.beginPath();
    this.context.moveTo(x, y - 5);
    this.context.lineTo(x, y);
    this.context.lineTo(x + length * this.zoom, y);
    this.context.lineTo(x + length * this.zoom, y - 5);
    this.context.stroke();
    this.context.font = "12px system-ui, sans-serif";
    this.context.fillStyle = "#c9d4de";
    this.context.textAlign = "left";
    this.context.textBaseline = "bottom";
    this.context.fillText(`${+length.toPrecision(3)} ${unit}`, x + 6, y - 4);
  }

  windowText() {
    const shown = [this.low, this.high].map((value) => String(+value.toPrecision(3)).replace("-", "−"));
    this.context.font = "12px system-ui, sans-serif";
    this.context.fillStyle = "#c9d4de";
    this.context.textAlign = "right";
    this.context.textBaseline = "bottom";
    this.context.fillText(`window ${shown.join(" to ")}`, this.width - 14, this.height - 12);
  }

  drawCursor() {
    const [x, y] = this.screenOf(this.cursor);
    const { context } = this;
    for (const [style, width] of [["#000", 3], ["#f0e442", 1.5]]) {
      context.strokeStyle = style;
      context.lineWidth = width;
      context.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        context.moveTo(x + 4 * dx, y + 4 * dy);
        context.lineTo(x + 13 * dx, y + 13 * dy);
      }
      context.stroke();
    }
  }

  /** Move the keyboard's cursor by steps to the right and down, of `length` mm. */
  moveCursor(dx, dy, length) {
    if (this.facts === null) return;
    const { right, down, turned } = this.plane;
    this.cursor ??= this.facts.shape.map((n, axis) => (axis === this.axis ? this.at[axis] : Math.floor(n / 2)));
    const put = (axis, steps) => {
      const value = this.cursor[axis] + (steps * length) / this.spacing[axis];
      this.cursor[axis] = Math.min(Math.max(value, -0.5), this.facts.shape[axis] - 0.5);
    };
    put(right, dx);
    put(down, turned ? -dy : dy);
    this.draw();
  }
}

function apply(matrix, [x, y, z]) {
  return [0, 1, 2].map((row) => matrix[row][0] * x + matrix[row][1] * y + matrix[row][2] * z + matrix[row][3]);
}

/** Inverse of an affine matrix whose columns are perpendicular. */
function invert(affine) {
  const columns = [0, 1, 2].map((axis) => [0, 1, 2].map((row) => affine[row][axis]));
  const rows = columns.map((column) => {
    const square = column.reduce((sum, value) => sum + value * value, 0);
    return column.map((value) => value / square);
  });
  return rows.map((row) => [...row, -row.reduce((sum, value, i) => sum + value * affine[i][3], 0)]);
}
