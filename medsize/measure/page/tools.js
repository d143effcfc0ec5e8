// The methods: what a reader draws, by mouse, finger or keyboard. Places are in scanner mm (RAS+).
//
// A tool has `state`; `geometry()`, null until something is drawn; `press`, `drag`, `release` and `hover` of a pointer;
// `place` by the keyboard's cursor; `undo`, false if there is nothing to undo; and a `draft` of all this.

import {
  add, COLOUR, cross, cross2d, distance, dot, ellipse, handle, label, line, middle, OTHER, subtract, times, unit,
} from "./drawing.js";

const SHORTEST_PX = 4;
const FIRST_WIDTH = 0.7;
const LEAST_PERCENT = 0.01;
const PAST_CHARACTERS = 300_000; // the browser keeps some millions for all drafts
const OFFSETS = 720_720; // a multiple of 1 to 16, so that of the slices of one in two, those of one in four are a part

class Tool {
  constructor(view, changed) {
    this.view = view;
    this.changed = changed;
    this.load();
  }

  /** Begin anew, or go on with a draft. */
  load(draft = null) {
    this.reset(draft?.state);
    this.settled = draft?.settled ?? JSON.stringify(this.state);
    this.past = draft?.past ?? [];
  }

  get draft() {
    const { state, settled, past } = this;
    return { state, settled, past };
  }

  reset(state = null) {
    this.state = state ?? this.empty();
    this.held = null;
  }

  /** Whether a mark is drawn of which a part is missing. */
  get isOpen() { return false; }

  /** Show a change. Undo comes back to what was before, unless a part of the mark is missing. */
  commit() {
    const state = JSON.stringify(this.state);
    if (!this.isOpen && state !== this.settled) {
      this.past.push({ state: this.settled, place: this.view.place });
      this.settled = state;
      while (this.past.reduce((sum, { state: { length } }) => sum + length, 0) > PAST_CHARACTERS) this.past.shift();
    }
    this.changed();
  }

  /** Forget what is not settled: a mark of which a part is missing, or a number that is being typed. */
  revert() {
    this.reset(JSON.parse(this.settled));
  }

  /** Take the last change back, and show where it was; return false if there was none. */
  undo() {
    if (JSON.stringify(this.state) === this.settled) {
      const before = this.past.pop();
      if (before === undefined) return false;
      this.settled = before.state;
      this.view.go(before.place);
    }
    this.revert();
    return true;
  }

  near([x, y], mm, reach) {
    const [a, b] = this.view.screenOfMm(mm);
    return Math.abs(this.view.away(mm)) < 1 && Math.hypot(a - x, b - y) <= reach;
  }

  /** Length of a place on the screen, px. */
  pixels(a, b) {
    const [p, q] = [this.view.screenOfMm(a), this.view.screenOfMm(b)];
    return Math.hypot(p[0] - q[0], p[1] - q[1]);
  }

  press() {}
  drag() {}
  release() {}
  hover() {}
  place() {}
  get cursorStep() { return null; }
  get acquired() { return null; }
  isCounted() { return true; }
  resize() {}
  remove() {}
}

/** One to three diameters. */
export class Lines extends Tool {
  empty() {
    return { lines: [], open: false };
  }

  get isOpen() {
    return this.state.open;
  }

  get most() {
    return this.view.facts.picture ? 2 : 3;
  }

  hint() {
    const { lines, open } = this.state;
    if (open) return "Click the other end.";
    if (lines.length === 0) return "Drag the longest diameter.";
    if (this.view.facts.picture) return lines.length === 1 ? "Drag the width across it, or save." : "Drag the ends to correct them.";
    if (lines.length === 1) return "Drag the width across it.";
    if (lines.length === 2) return "Then the height, in another plane (2 or 3). It narrows the interval most.";
    return "Drag the ends to correct them.";
  }

  geometry() {
    const lines = this.state.lines.slice(0, this.state.open ? -1 : undefined);
    return lines.length ? { method: "lines", lines } : null;
  }

  press(at, mm, reach) {
    const { lines } = this.state;
    if (this.state.open) return;
    for (const [i, ends] of lines.entries()) {
      for (const end of [0, 1]) if (this.near(at, ends[end], reach)) return void (this.held = [i, end]);
    }
    this.begin(mm);
  }

  begin(mm) {
    if (this.state.lines.length >= this.most) return;
    this.state.lines.push([mm, mm]);
    this.held = [this.state.lines.length - 1, 1];
    this.state.open = true;
  }

  drag(at, mm) {
    if (this.held) this.state.lines[this.held[0]][this.held[1]] = mm;
  }

  hover(at, mm) {
    if (this.state.open) this.state.lines.at(-1)[1] = mm;
    return this.state.open;
  }

  release(at, mm) {
    const { lines, open } = this.state;
    if (open) lines.at(-1)[1] = mm;
    if (open && this.pixels(...lines.at(-1)) >= SHORTEST_PX) this.state.open = false;
    this.held = null;
    this.commit();
  }

  place(mm) {
    if (!this.state.open) this.begin(mm);
    else if (distance(this.state.lines.at(-1)[0], mm) > 0) {
      this.state.lines.at(-1)[1] = mm;
      this.state.open = false;
    }
    this.held = null;
    this.commit();
  }

  draw(context) {
    const { view } = this;
    for (const ends of this.state.lines) {
      const [near, far] = ends.map((end) => view.away(end)).sort((a, b) => a - b);
      if (near > 0.51 || far < -0.51) continue; // on other slices
      const here = far - near < 1;
      const [p, q] = ends.map((end) => view.screenOfMm(end));
      line(context, p, q, here ? COLOUR : OTHER, here ? [] : [4, 4]);
      if (!here) continue;
      handle(context, p);
      handle(context, q);
      label(context, `${distance(...ends).toFixed(1)} ${view.facts.lengthUnit}`, q);
    }
  }
}

/** An ellipse; on a scan, a second one in another plane gives the height. */
export class Ellipse extends Tool {
  empty() {
    return { ellipses: [], stage: "" };
  }

  get isOpen() {
    return this.state.stage !== "";
  }

  hint() {
    const { ellipses, stage } = this.state;
    if (stage === "long") return "Click the other end of the long axis.";
    if (stage === "short") return "Click where the ellipse is widest.";
    if (ellipses.length === 0) return "Drag along the longest axis; then drag the sides to fit.";
    if (this.view.facts.picture) return "Drag ends and sides to fit, the middle to move it.";
    if (ellipses.length === 1) return "Drag to fit. An ellipse in another plane (2 or 3) gives the height.";
    return "Drag ends and sides to fit, the middle to move it.";
  }

  geometry() {
    const ellipses = this.state.ellipses.slice(0, this.state.stage === "long" ? -1 : undefined);
    return ellipses.length ? { method: "ellipse", ellipses: ellipses.map(({ long, short }) => ({ long, short })) } : null;
  }

  handles({ long, short }) {
    return { long0: long[0], long1: long[1], short0: short[0], short1: short[1], middle: middle(...long) };
  }

  press(at, mm, reach) {
    if (this.state.stage) return;
    for (const [i, drawn] of this.state.ellipses.entries()) {
      for (const [name, place] of Object.entries(this.handles(drawn))) {
        if (drawn.axis === this.view.axis && this.near(at, place, reach)) return void (this.held = [i, name]);
      }
    }
    this.begin(mm);
  }

  begin(mm) {
    const { ellipses } = this.state;
    if (ellipses.some(({ axis }) => axis === this.view.axis) || ellipses.length >= (this.view.facts.picture ? 1 : 2)) return;
    ellipses.push({ axis: this.view.axis, long: [mm, mm], short: [mm, mm] });
    this.held = [ellipses.length - 1, "long1"];
    this.state.stage = "long";
  }

  /** Direction in the plane at right angles to the long axis. */
  across({ axis, long }) {
    const normal = [0, 1, 2].map((row) => this.view.facts.affine[row][axis]);
    return unit(cross(normal, subtract(long[1], long[0])));
  }

  setLong(drawn, ends, half) {
    drawn.long = ends;
    if (distance(...ends) === 0) return;
    const direction = this.across(drawn);
    const centre = middle(...ends);
    drawn.short = [subtract(centre, times(direction, half)), add(centre, times(direction, half))];
  }

  setShort(drawn, mm) {
    const centre = middle(...drawn.long);
    const half = Math.abs(dot(subtract(mm, centre), this.across(drawn)));
    this.setLong(drawn, drawn.long, Math.max(half, distance(...drawn.long) / 100));
  }

  change([i, name], mm) {
    const drawn = this.state.ellipses[i];
    const half = distance(...drawn.short) / 2;
    if (name === "middle") {
      const by = subtract(mm, middle(...drawn.long));
      drawn.long = drawn.long.map((end) => add(end, by));
      drawn.short = drawn.short.map((end) => add(end, by));
    } else if (name.startsWith("short")) this.setShort(drawn, mm);
    else {
      const ends = name === "long0" ? [mm, drawn.long[1]] : [drawn.long[0], mm];
      this.setLong(drawn, ends, this.state.stage ? (FIRST_WIDTH * distance(...ends)) / 2 : half);
    }
  }

  drag(at, mm) {
    if (this.held) this.change(this.held, mm);
  }

  hover(at, mm) {
    const last = this.state.ellipses.length - 1;
    if (this.state.stage === "long") this.change([last, "long1"], mm);
    if (this.state.stage === "short") this.setShort(this.state.ellipses[last], mm);
    return this.state.stage !== "";
  }

  release(at, mm) {
    const last = this.state.ellipses.length - 1;
    if (this.state.stage === "short") {
      this.setShort(this.state.ellipses[last], mm);
      this.state.stage = "";
    } else if (this.state.stage === "long") {
      const dragged = this.held !== null;
      this.change([last, "long1"], mm);
      if (this.pixels(...this.state.ellipses[last].long) >= SHORTEST_PX) this.state.stage = dragged ? "" : "short";
    }
    this.held = null;
    this.commit();
  }

  place(mm) {
    const last = this.state.ellipses.length - 1;
    if (this.state.stage === "short") {
      this.setShort(this.state.ellipses[last], mm);
      this.state.stage = "";
    } else if (this.state.stage === "long") {
      this.change([last, "long1"], mm);
      if (distance(...this.state.ellipses[last].long) > 0) this.state.stage = "short";
    } else this.begin(mm);
    this.held = null;
    this.commit();
  }

  draw(context) {
    const { view } = this;
    for (const drawn of this.state.ellipses) {
      const centre = middle(...drawn.long);
      const here = drawn.axis === view.axis;
      if (here && Math.abs(view.away(centre)) > 0.51) continue;
      const at = view.screenOfMm(centre);
      const [long, short] = [drawn.long, drawn.short].map((ends) => view.screenOfMm(ends[1]).map((value, i) => value - at[i]));
      if (!here) { // seen from its edge
        for (const ends of [drawn.long, drawn.short]) {
          const crosses = Math.abs(view.away(ends[0]) - view.away(ends[1])) < 1 && Math.abs(view.away(centre)) < 1;
          if (crosses) line(context, ...ends.map((end) => view.screenOfMm(end)), OTHER, [4, 4]);
        }
        continue;
      }
      ellipse(context, at, long, short);
      for (const place of Object.values(this.handles(drawn))) handle(context, view.screenOfMm(place));
      const lengths = [drawn.long, drawn.short].map((ends) => distance(...ends).toFixed(1));
      label(context, `${lengths.join(" × ")} ${view.facts.lengthUnit}`, view.screenOfMm(drawn.long[1]));
    }
  }
}

/** A tool that is used on each n-th slice, the first of them at a random place. */
class Sampling extends Tool {
  empty() {
    const { facts } = this.view;
    return {
      every: facts.picture ? 1 : Math.max(1, Math.round(facts.shape[facts.sliceAxis] / 16)),
      start: [0, 1, 2].map((axis) => randomOf(`${this.seed} ${axis}`)),
    };
  }

  reset(state = null) {
    if (this.view.facts !== null) super.reset(state);
    else this.state = null;
  }

  get acquired() {
    return this.view.facts.sliceAxis;
  }

  /** Number of the slice that is shown. */
  get at() {
    return this.view.at[this.acquired];
  }

  inPlane() {
    return [0, 1, 2].filter((axis) => axis !== this.acquired);
  }

  /** Width and height of a slice, mm. */
  get extents() {
    const { facts, spacing } = this.view;
    return this.inPlane().map((axis) => facts.shape[axis] * spacing[axis]);
  }

  get first() {
    return Math.floor(this.state.start[2] * OFFSETS) % this.state.every;
  }

  isCounted(at) {
    return (at - this.first) % this.state.every === 0;
  }

  /** Why nothing can be measured on the slice that is shown; "" if it can. */
  get obstacle() {
    if (this.view.axis !== this.acquired) return `Sizes are read in the plane of the slices: press ${3 - this.acquired}.`;
    if (!this.isCounted(this.at)) return "This slice is not counted. Go to the next with Page Up or Page Down.";
    return "";
  }

  get isHere() {
    return this.state !== null && this.obstacle === "";
  }

  hint() {
    if (this.state === null) return ""; // the last scan could not be read
    return this.obstacle || this.hintHere();
  }

  /** Show a slice that is counted. */
  begin() {
    const near = [...Array(this.state.every).keys()].flatMap((n) => [this.at + n, this.at - n]);
    const counted = near.find((number) => number >= 0 && number < this.view.facts.shape[this.acquired] && this.isCounted(number));
    if (counted !== undefined) this.view.setSlice(counted);
  }

  /** Count one slice in so many, and keep what lies on these. Return why that is refused, "" if it is not. */
  setEvery(every) {
    const most = this.view.facts.shape[this.acquired];
    if (!(every >= 1 && every <= most)) return `Type a number of slices from 1 to ${most}.`;
    this.state.every = Math.round(every);
    this.keep((slice) => this.isCounted(slice));
    this.commit();
    this.begin();
    return "";
  }

  /** Take away what lies on the slice that is shown. */
  remove() {
    if (this.isHere) this.keep((slice) => slice !== this.at);
    this.commit();
  }
}

/** Points of a square grid on each n-th slice; the grid begins at a random place. */
export class Points extends Sampling {
  empty() {
    return { ...super.empty(), step: round(Math.min(...this.extents) / 24), inside: [] };
  }

  reset(state = null) {
    super.reset(state);
    this.inside = new Set(this.state?.inside);
    this.painting = null;
  }

  hintHere() {
    return "Click or drag over all points inside, on each counted slice. 20 to 200 in all are enough.";
  }

  keep(isKept) {
    this.reset({ ...this.state, inside: this.state.inside.filter((key) => isKept(parseInt(key))) });
  }

  /** Lay another grid, without points yet. Return why that is refused, "" if it is not. */
  setStep(step) {
    const [least, most] = [round(Math.max(...this.extents) / 500), round(Math.min(...this.extents))]; // finer ones take long
    if (!(step >= least && step <= most)) return `Type a distance from ${least} to ${most} ${this.view.facts.lengthUnit}.`;
    if (step !== this.state.step) this.reset({ ...this.state, step, inside: [] });
    this.commit();
    this.begin();
    return "";
  }

  resize(direction) {
    return this.setStep(round(this.state.step * (direction > 0 ? 0.7 : 1.45)));
  }

  get cursorStep() {
    return this.state.step;
  }

  geometry() {
    const points = [...this.inside].map((key) => this.mm(...key.split(" ").map(Number)));
    return points.length ? { method: "points", step: this.state.step, every: this.state.every, points } : null;
  }

  /** Index of voxels of the grid's point i, j on a slice. */
  index(at, i, j) {
    const index = [at, at, at];
    for (const [k, axis] of this.inPlane().entries()) {
      index[axis] = (([i, j][k] + this.state.start[k]) * this.state.step) / this.view.spacing[axis] - 0.5;
    }
    return index;
  }

  mm(at, i, j) {
    return this.view.toMm(this.index(at, i, j));
  }

  /** The grid's point next to a place, null on slices that are not counted. */
  next(mm) {
    if (!this.isHere) return null;
    const { at } = this;
    const index = this.view.toIndex(mm);
    const [i, j] = this.inPlane().map((axis, k) =>
      Math.round(((index[axis] + 0.5) * this.view.spacing[axis]) / this.state.step - this.state.start[k]));
    const within = this.index(at, i, j).every((value, axis) => value >= -0.5 && value <= this.view.facts.shape[axis] - 0.5);
    return within ? `${at} ${i} ${j}` : null;
  }

  set(key, inside) {
    if (key === null) return;
    if (inside) this.inside.add(key);
    else this.inside.delete(key);
    this.state.inside = [...this.inside];
  }

  press(at, mm) {
    const key = this.next(mm);
    if (key === null) return;
    this.painting = !this.inside.has(key);
    this.set(key, this.painting);
    this.last = mm;
  }

  drag(at, mm) {
    if (this.painting === null) return;
    const steps = Math.ceil((2 * distance(this.last, mm)) / this.state.step);
    for (let n = 1; n <= steps; n++) {
      this.set(this.next(add(this.last, times(subtract(mm, this.last), n / steps))), this.painting);
    }
    this.last = mm;
  }

  release() {
    this.painting = null;
    this.commit();
  }

  place(mm) {
    const key = this.next(mm);
    this.set(key, !this.inside.has(key));
    this.commit();
  }

  draw(context) {
    const { view, at } = this;
    if (!this.isHere) return;
    const [columns, rows] = this.extents.map((extent) => Math.ceil(extent / this.state.step));
    const arm = Math.min(Math.max((this.state.step * view.zoom) / 5, 2), 6);
    for (let i = 0; i < columns; i++) {
      for (let j = 0; j < rows; j++) {
        const index = this.index(at, i, j);
        if (index.some((value, axis) => value > view.facts.shape[axis] - 0.5)) continue;
        const [x, y] = view.screenOf(index);
        if (x < 0 || y < 0 || x > view.width || y > view.height) continue;
        if (this.inside.has(`${at} ${i} ${j}`)) {
          context.fillStyle = COLOUR;
          context.strokeStyle = "#000";
          context.lineWidth = 1;
          context.beginPath();
          context.arc(x, y, arm + 1, 0, 2 * Math.PI);
          context.fill();
          context.stroke();
        } else {
          context.strokeStyle = "#7fd0ffcc";
          context.lineWidth = 1;
          context.beginPath();
          context.moveTo(x - arm, y);
          context.lineTo(x + arm, y);
          context.moveTo(x, y - arm);
          context.lineTo(x, y + arm);
          context.stroke();
        }
      }
    }
  }
}

/** Part of a picture, or of each n-th slice, with a disc of that area to compare. */
export class Percent extends Sampling {
  empty() {
    return { ...super.empty(), discs: [] }; // each with its slice, percent, place, and whether its reader has sized it
  }

  hint() {
    const unsized = this.state?.discs.find(({ sized, slice }) => !sized && !(this.isHere && slice === this.at));
    if (unsized) return `The disc of slice ${unsized.slice + 1} has no size yet. Drag its edge there, or take it away with Delete.`;
    return super.hint();
  }

  hintHere() {
    const { picture } = this.view.facts;
    const { percent, sized } = this.disc;
    const where = picture ? "" : ", on each counted slice";
    if (percent === null) return `Type the percentage, or click the structure and drag the disc’s edge until it is as large${where}.`;
    if (!sized) return "Drag the disc’s edge, or [ and ], until it is as large as the structure; then save.";
    return `Drag the disc’s edge, or [ and ], until it is as large as the structure${where}.`;
  }

  keep(isKept) {
    this.state.discs = this.state.discs.filter(({ slice }) => isKept(slice));
  }

  get area() {
    const [width, height] = this.extents;
    return width * height;
  }

  /** The disc of the slice that is shown. */
  get disc() {
    return this.state?.discs.find((disc) => disc.slice === this.at) ?? { slice: this.at, percent: null, at: null, sized: false };
  }

  get radius() {
    return Math.sqrt(((this.disc.percent / 100) * this.area) / Math.PI);
  }

  /** Percentage that a new disc begins with: that of the last one. */
  get usual() {
    return this.state.discs.at(-1)?.percent ?? 5;
  }

  put(changes) {
    const { discs } = this.state;
    const disc = { ...this.disc, ...changes };
    const known = discs.findIndex(({ slice }) => slice === disc.slice);
    if (known < 0) discs.push(disc);
    else discs[known] = disc;
  }

  /** Take a percentage that is being typed. Return why it is refused, "" if it is not. */
  set(percent) {
    if (!this.isHere) return this.obstacle;
    const isTaken = percent >= LEAST_PERCENT && percent <= 100;
    if (isTaken) this.put({ percent, sized: true, at: this.disc.at ?? this.middle });
    else this.revert(); // the 10 of 101 was not meant
    this.changed();
    return isTaken ? "" : `Type a percentage from ${LEAST_PERCENT} to 100.`;
  }

  get middle() {
    return this.view.toMm(this.view.facts.shape.map((n, axis) => (axis === this.acquired ? this.at : (n - 1) / 2)));
  }

  geometry() {
    const discs = this.state?.discs ?? [];
    if (!discs.length || discs.some(({ sized }) => !sized)) return null;
    const drawn = discs.map(({ percent, at }) => ({ percent, at }));
    return this.view.facts.picture ? { method: "percent", ...drawn[0] } : { method: "percent_of_slices", every: this.state.every, discs: drawn };
  }

  press(at, mm, reach) {
    if (!this.isHere) return;
    const { percent, at: centre } = this.disc;
    const away = centre === null ? Infinity : distance(mm, centre);
    const toEdge = Math.abs(away - this.radius);
    if (percent !== null && toEdge * this.view.zoom <= reach && toEdge < away) this.held = "edge";
    else {
      this.put({ at: mm, percent: percent ?? this.usual });
      this.held = "middle";
    }
  }

  drag(at, mm) {
    if (this.held === "middle") this.put({ at: mm });
    if (this.held === "edge") {
      this.put({ percent: percentage((100 * Math.PI * distance(mm, this.disc.at) ** 2) / this.area), sized: true });
    }
  }

  release() {
    this.held = null;
    this.commit();
  }

  place(mm) {
    if (this.isHere) this.put({ at: mm, percent: this.disc.percent ?? this.usual });
    this.commit();
  }

  resize(direction) {
    const refusal = this.set(percentage((this.disc.percent ?? this.usual) * (direction > 0 ? 1.1 : 1 / 1.1)));
    if (!refusal) this.commit();
    return refusal;
  }

  draw(context) {
    const { percent, at, sized } = this.disc;
    if (percent === null || !this.isHere) return;
    const r = this.radius * this.view.zoom;
    const middleOnScreen = this.view.screenOfMm(at);
    ellipse(context, middleOnScreen, [r, 0], [0, r]);
    handle(context, [middleOnScreen[0] + r, middleOnScreen[1]]);
    if (sized) label(context, `${percent} %`, [middleOnScreen[0] + r, middleOnScreen[1]]);
  }
}

/** "It is here." */
export class Click extends Tool {
  empty() {
    return { at: null };
  }

  hint() {
    return this.state.at === null ? "Click into the structure: it is here." : "Click again to correct the place, or save.";
  }

  geometry() {
    return this.state.at === null ? null : { method: "click", at: this.state.at };
  }

  press(at, mm) {
    this.state.at = mm;
  }

  drag(at, mm) {
    this.state.at = mm;
  }

  release() {
    this.commit();
  }

  place(mm) {
    this.state.at = mm;
    this.commit();
  }

  draw(context) {
    if (this.state.at !== null && Math.abs(this.view.away(this.state.at)) <= 0.51) cross2d(context, this.view.screenOfMm(this.state.at));
  }
}

/** A number from 0 to 1 that depends on a text: the same grid whenever a reader opens a scan, another for each scan. */
function randomOf(text) {
  let hash = 2166136261; // FNV-1a, and a last mix
  for (const letter of text) hash = Math.imul(hash ^ letter.codePointAt(0), 16777619);
  hash = Math.imul(hash ^ (hash >>> 15), 2246822507);
  hash = Math.imul(hash ^ (hash >>> 13), 3266489909);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}

/** The nearest of 1, 1.5, 2, 3, 4, 5, 6, 8 times a power of ten. */
function round(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  const digits = [1, 1.5, 2, 3, 4, 5, 6, 8, 10];
  const nearest = digits.reduce((best, digit) => (Math.abs(digit - value / power) < Math.abs(best - value / power) ? digit : best));
  return +(nearest * power).toPrecision(3);
}

/** A percentage of three digits that can be saved. */
function percentage(value) {
  return +Math.min(Math.max(value, LEAST_PERCENT), 100).toPrecision(3);
}

/** Whether nothing is drawn. */
export function isEmpty(tool) {
  const { lines = [], ellipses = [], discs = [] } = tool.state ?? {};
  return tool.geometry() === null && lines.length + ellipses.length + discs.length === 0;
}
