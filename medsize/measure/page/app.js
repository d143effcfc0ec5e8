// The page: who measures, what is next, and what is saved.

import { get, keepFor, newId, post, Refused, save, unsaved } from "./calls.js";
import { Click, Ellipse, isEmpty, Lines, Percent, Points } from "./tools.js";
import { View } from "./view.js";

const IDLE_MS = 60_000; // a pause longer than this is not time of the reading
const DRAFT_VERSION = 2; // of the tools' states
const element = (id) => document.getElementById(id);
const METHOD_NAMES = { lines: "lines", ellipse: "ellipse", points: "point counting", percent: "percent", percent_of_slices: "percent of slices", click: "click", absent: "absent", cannot_tell: "can’t tell" };

class App {
  constructor() {
    this.view = new View(element("canvas"), () => this.showView());
    const changed = () => this.changed();
    this.tools = {
      lines: new Lines(this.view, changed), ellipse: new Ellipse(this.view, changed), points: new Points(this.view, changed),
      percent: new Percent(this.view, changed), click: new Click(this.view, changed),
    };
    this.toolName = "lines";
    this.tasks = [];
    this.current = -1;
    this.busy = false;
    this.channel = new BroadcastChannel("medsize-measure");
    this.channel.onmessage = ({ data }) => this.elsewhere(data);
    this.view.overlay = (context) => this.tool.draw(context);
  }

  get tool() {
    return this.tools[this.toolName];
  }

  get task() {
    return this.tasks[this.current];
  }

  async begin() {
    this.start = await get("start");
    keepFor(this.start.output);
    document.title = `${this.start.cohort}: medsize measure`;
    element("sign-in-cohort").textContent = `${this.start.cohort}: ${this.start.scans} scans, ${this.start.structures.join(", ")}.`;
    element("output").textContent = this.start.output;
    const known = JSON.parse(sessionStorage.getItem("medsize-reader") ?? "null");
    if (known === null || !(await this.signIn(known.reader, known.round, true))) this.askReader();
  }

  askReader() {
    element("reader").value = localStorage.getItem("medsize-last-reader") ?? "";
    element("sign-in").showModal();
    element("reader").select();
  }

  /** Sign a reader in; a name that is known is asked about first. */
  async signIn(reader, round, isSure) {
    const note = element("sign-in-note");
    note.hidden = true;
    let session;
    try {
      session = await post("reader", { reader, round });
    } catch (error) {
      note.textContent = error.message;
      note.hidden = false;
      return false;
    }
    if (session.known > 0 && !isSure && this.asked !== session.reader) {
      this.asked = session.reader;
      note.textContent = `${session.reader} has ${session.known} readings here. Is that you? Then press “Go on”. If not, choose another name.`;
      note.hidden = false;
      element("sign-in-go").textContent = "Go on";
      return false;
    }
    Object.assign(this, { reader: session.reader, round: session.round, tasks: session.tasks });
    sessionStorage.setItem("medsize-reader", JSON.stringify({ reader: this.reader, round: this.round }));
    localStorage.setItem("medsize-last-reader", this.reader);
    if (element("sign-in").open) element("sign-in").close();
    element("reader-name").textContent = this.round > 1 ? `${this.reader}, second time` : this.reader;
    this.progress(session);
    await this.sendUnsaved();
    const left = sessionStorage.getItem("medsize-task");
    const at = this.tasks.findIndex((task) => this.key(task) === left && task.reading === null);
    await this.open(at >= 0 ? at : this.nextUnmeasured(-1));
    return true;
  }

  /** Send what an earlier page, or an earlier server, could not save. */
  async sendUnsaved() {
    for (const reading of unsaved()) {
      try {
        const answer = await save(reading, () => this.status("Saving what is not saved yet …", "warn"));
        if (reading.reader === this.reader && reading.round === this.round) this.measured(reading, answer);
      } catch (error) {
        this.status(error.message, "bad");
      }
    }
  }

  key(task) {
    return `${this.reader} ${this.round} ${task.name} ${task.structure}`;
  }

  draftKey(task) {
    return `medsize-draft ${this.start.output} ${this.key(task)}`;
  }

  /** What a draft must be of: states as this page has them, and the scan that is shown. */
  get draftOf() {
    const { name, shape, affine } = this.view.facts;
    return JSON.stringify([DRAFT_VERSION, name, shape, affine]);
  }

  /** The drawings of a task that is not finished, by each method; null if there are none that fit. */
  draft(task) {
    try {
      const draft = JSON.parse(localStorage.getItem(this.draftKey(task)));
      return draft?.of === this.draftOf ? draft : null;
    } catch {
      return null;
    }
  }

  keepDraft() {
    const drawn = Object.entries(this.tools).filter(([, tool]) => !isEmpty(tool) || tool.past.length > 0);
    if (drawn.length === 0) return this.forget(this.task);
    const tools = Object.fromEntries(drawn.map(([name, tool]) => [name, tool.draft]));
    try {
      localStorage.setItem(this.draftKey(this.task), JSON.stringify({ of: this.draftOf, tool: this.toolName, tools, seconds: this.seconds }));
    } catch { // the browser's storage is full
      this.status("The browser cannot keep this drawing: save it before you reload the page.", "warn");
    }
  }

  /** The next task without a reading, after one; the same one if it is the only one, -1 if there is none. */
  nextUnmeasured(after) {
    const n = this.tasks.length;
    for (let step = 1; step <= n; step++) {
      const at = (after + step + n) % n;
      if (this.tasks[at].reading === null) return at;
    }
    return -1;
  }

  async open(at) {
    if (at < 0) {
      if (this.current < 0) await this.open(0);
      this.changed(false);
      this.showResult();
      element("hint").textContent = "";
      return this.status(`All ${this.tasks.length} are measured. Go back with B to correct one; Ctrl+C in the terminal ends it.`, "done");
    }
    const before = this.task;
    this.current = at;
    const { task } = this;
    sessionStorage.setItem("medsize-task", this.key(task));
    this.seconds = 0;
    this.lastInput = performance.now();
    this.clear();
    this.status("");
    element("structure").textContent = task.structure;
    element("task-number").textContent = `Scan ${new Set(this.tasks.slice(0, at + 1).map(({ scan }) => scan)).size} of ${this.start.scans}`;
    element("trouble").hidden = true;
    this.showResult();
    if (before?.scan !== task.scan || this.view.facts?.scan !== task.scan) {
      this.view.facts = null;
      this.showOptions();
      this.view.context.clearRect(0, 0, element("canvas").width, element("canvas").height);
      element("scan-name").textContent = "";
      try {
        const facts = await get(`scan?scan=${task.scan}`);
        if (this.task !== task) return;
        if (facts.name !== task.name) return await this.openAnew(task); // medsize was started again with other scans
        element("scan-name").textContent = facts.name;
        await this.view.open(facts);
        this.fillWindows();
        this.fillPlanes();
      } catch (error) {
        if (this.task !== task) return;
        element("trouble").textContent = `${error.message} Go on with T (can’t tell) or N (skip).`;
        element("trouble").hidden = false;
        this.showResult();
        return;
      }
    }
    this.restore(task);
    this.showResult();
    this.changed(false);
    element("canvas").focus({ preventScroll: true });
  }

  /** Go on with an unfinished drawing, or show the reading that is to be corrected. */
  restore(task) {
    this.tools.points.seed = this.tools.percent.seed = `${this.reader} ${this.round} ${this.view.facts.name} ${task.structure}`;
    const draft = this.draft(task);
    for (const [name, tool] of Object.entries(this.tools)) tool.load(draft?.tools[name]);
    this.useTool(draft?.tool ?? this.toolName);
    if (draft === null) return this.forget(task);
    this.seconds = draft.seconds;
    const first = this.firstPlace(this.tool.geometry());
    if (first) this.view.show(first);
  }

  /** Leave nothing drawn. */
  clear() {
    for (const tool of Object.values(this.tools)) tool.load();
    this.size = null;
    this.question = null;
  }

  firstPlace(geometry) {
    if (geometry === null) return null;
    return geometry.lines?.[0][0] ?? geometry.ellipses?.[0].long[0] ?? geometry.points?.[0] ?? geometry.discs?.[0].at ?? geometry.at;
  }

  useTool(name) {
    this.toolName = name;
    for (const button of document.querySelectorAll("[data-tool]")) {
      const chosen = button.dataset.tool === name;
      button.setAttribute("aria-checked", chosen);
      button.tabIndex = chosen ? 0 : -1;
    }
    const isSampling = name === "points" || name === "percent";
    element("options-points").hidden = name !== "points";
    element("options-percent").hidden = name !== "percent";
    if (this.view.facts !== null) {
      element("options-every").hidden = !isSampling || this.view.facts.picture;
      element("percent-of").textContent = this.view.facts.picture ? "picture" : "slice";
      if (isSampling) {
        this.view.setPlane(this.view.facts.sliceAxis);
        this.tool.begin();
      }
      this.changed(false);
    }
  }

  /** After every change of the drawing: show it, keep it, and ask for its size. */
  changed(isNew = true) {
    const { tool, task } = this;
    if (this.view.facts === null || task === undefined) return;
    this.view.draw();
    this.showHint();
    this.showOptions(document.activeElement);
    if (isNew) {
      this.touch();
      this.keepDraft();
    }
    this.ask();
  }

  /** Say what to do, or why something was refused. */
  showHint(refusal = "") {
    element("hint").textContent = refusal || this.tool.hint();
    element("hint").classList.toggle("warn", Boolean(refusal));
  }

  /** Show in the boxes what is recorded, except in the one that is being typed in. */
  showOptions(typed = null) {
    const { facts } = this.view;
    for (const id of ["options", "bar"]) element(id).disabled = facts === null;
    if (facts === null) return;
    const { points, percent } = this.tools;
    const recorded = { step: points.state?.step, every: this.tool.state?.every, percent: percent.disc.sized ? percent.disc.percent : "" };
    for (const [id, value] of Object.entries(recorded)) if (element(id) !== typed) element(id).value = value ?? "";
    element("every").max = facts.shape[facts.sliceAxis];
    document.querySelector("#options-points .unit").textContent = facts.lengthUnit;
  }

  /** Ask for the size of the drawing; of several questions at once, only the last one counts. */
  async ask() {
    const geometry = this.tool.geometry();
    const question = (this.question = {});
    if (geometry === null) {
      this.size = null;
      return this.showResult();
    }
    try {
      const size = await post("estimate", { scan: this.task.scan, geometry });
      if (this.question === question) this.size = size;
    } catch (error) {
      if (this.question === question) this.size = { kind: "none", error: error instanceof Refused ? error.message : "" };
    }
    if (this.question === question) this.showResult();
  }

  showResult() {
    const earlier = this.task?.reading ?? null;
    const drawn = this.size ?? null;
    element("size").textContent = drawn ? (drawn.error ? "–" : sizeText(drawn, this.tool)) : "–";
    element("interval").textContent = drawn?.error ?? (drawn ? intervalText(drawn) : "");
    element("detail").textContent = drawn?.detail ?? "";
    element("save").disabled = this.busy || drawn === null || Boolean(drawn.error);
    element("earlier").hidden = earlier === null;
    if (earlier !== null) {
      const method = METHOD_NAMES[earlier.geometry.method];
      const text = earlier.kind === "none" ? "" : `: ${sizeText(earlier)}`;
      element("earlier").textContent = `Measured already by ${method}${text}. A new reading replaces it.`;
    }
    element("cannot-tell").disabled = this.busy;
    element("absent").disabled = this.busy || !element("trouble").hidden; // nobody has looked
  }

  progress({ measured, total, minutesLeft }) {
    const left = total - measured;
    const minutes = minutesLeft < 1 ? "less than a minute" : `about ${Math.round(minutesLeft)} minute${Math.round(minutesLeft) === 1 ? "" : "s"}`;
    element("progress-text").textContent = `${measured} of ${total}${left ? `, ${minutes} left` : ", all done"}`;
    element("progress").max = total;
    element("progress").value = measured;
  }

  /** Count the time since the last input, unless it was a pause. */
  touch() {
    const now = performance.now();
    if (!document.hidden) this.seconds += Math.min(now - (this.lastInput ?? now), IDLE_MS) / 1000;
    this.lastInput = now;
  }

  async keep(geometry) {
    const { task } = this;
    if (geometry === null || task === undefined || this.busy) return;
    this.touch();
    this.busy = true;
    this.showResult();
    const seen = this.view.facts?.scan === task.scan ? this.view.facts : { name: task.name, state: "" };
    const reading = {
      reader: this.reader, round: this.round, name: seen.name, structure: task.structure, geometry, seconds: +this.seconds.toFixed(1),
      id: newId(), state: seen.state,
    };
    try {
      const answer = await save(reading, (message) =>
        this.status(message || "Not saved yet: medsize does not answer. Start it again; this page goes on by itself.", "warn"));
      this.forget(task);
      this.clear();
      this.measured(reading, answer);
      this.channel.postMessage({ reader: this.reader, round: this.round });
      this.busy = false;
      await this.open(this.nextUnmeasured(this.current));
      if (this.task.reading === null) this.status(answer.note || `${task.structure} saved: ${METHOD_NAMES[geometry.method]}. Z takes it back.`, answer.note ? "warn" : "");
    } catch (error) {
      this.busy = false;
      this.showResult();
      if (error.status === 409) {
        this.forget(task);
        await this.openAnew(task);
      }
      this.status(error.message, "bad");
    }
  }

  /** Open a task whose scan has changed, or has another number: the scans are not those that they were. */
  async openAnew(task) {
    const session = await post("reader", { reader: this.reader, round: this.round });
    this.tasks = session.tasks;
    this.progress(session);
    this.view.facts = null;
    const at = this.tasks.findIndex((other) => this.key(other) === this.key(task));
    await this.open(at >= 0 ? at : this.nextUnmeasured(-1));
  }

  forget(task) {
    localStorage.removeItem(this.draftKey(task));
  }

  measured(reading, answer) {
    const task = this.tasks.find(({ name, structure }) => name === reading.name && structure === reading.structure);
    if (task) task.reading = answer.reading;
    this.progress(answer);
  }

  /** Undo the last change of the drawing; without one, take the last reading back. */
  async undo() {
    if (this.view.facts !== null && this.tool.undo()) return this.changed();
    if (this.busy) return;
    this.busy = true;
    try {
      const undone = await post("undo", { reader: this.reader, round: this.round });
      this.busy = false;
      const at = this.tasks.findIndex(({ name, structure }) => name === undone.name && structure === undone.structure);
      this.progress(undone);
      if (at < 0) return this.status("There is nothing to undo.");
      this.tasks[at].reading = undone.reading;
      this.channel.postMessage({ reader: this.reader, round: this.round });
      await this.open(at);
      this.status(undone.note || `The reading of ${undone.structure} was taken back.`, undone.note ? "warn" : "");
    } catch (error) {
      this.status(error instanceof Refused ? error.message : "medsize does not answer. Start it again.", "bad");
    } finally {
      this.busy = false;
      this.showResult();
    }
  }

  /** Another tab has saved something. */
  async elsewhere({ reader, round }) {
    if (reader !== this.reader || round !== this.round || this.busy) return;
    const session = await post("reader", { reader, round });
    for (const [i, task] of session.tasks.entries()) this.tasks[i].reading = task.reading;
    this.progress(session);
    this.showResult();
    if (this.task?.reading !== null && isEmpty(this.tool)) {
      await this.open(this.nextUnmeasured(this.current));
      this.status("The structure was measured in another tab.");
    }
  }

  status(text, kind = "") {
    element("status").textContent = text;
    element("status").className = `status ${kind}`;
  }

  fillWindows() {
    const select = element("window");
    select.replaceChildren(...this.view.windows.map(([name], i) => new Option(name, i)), new Option("By hand", -1));
    select.disabled = this.view.facts.colour;
    this.showView();
  }

  fillPlanes() {
    const { facts } = this.view;
    element("planes").hidden = facts.picture;
    const buttons = [2, 1, 0].map((axis, i) => {
      const button = document.createElement("button");
      button.append(facts.planes[axis][0].toUpperCase() + facts.planes[axis].slice(1));
      const key = document.createElement("kbd");
      key.textContent = i + 1;
      button.append(key);
      button.setAttribute("role", "radio");
      button.dataset.axis = axis;
      button.onclick = () => this.view.setPlane(axis).then(() => this.changed(false));
      return button;
    });
    element("planes").replaceChildren(...buttons);
    for (const id of ["slice-down", "slice-up", "slice", "slice-text"]) element(id).hidden = facts.picture;
    this.showView();
  }

  showView() {
    const { view } = this;
    if (view.facts === null) return;
    element("slice").max = view.count - 1;
    element("slice").value = view.at[view.axis];
    element("slice-text").textContent = `${view.at[view.axis] + 1} of ${view.count}`;
    element("window").value = view.preset;
    for (const button of element("planes").children) button.setAttribute("aria-checked", +button.dataset.axis === view.axis);
    if (this.task === undefined) return;
    this.showHint();
    this.showOptions();
  }

  /** Go to another slice: where each n-th slice is counted, to the next of them. */
  step(direction) {
    const { view } = this;
    if (view.facts === null) return;
    const typed = document.activeElement.matches("input[type=number]") ? document.activeElement : null;
    typed?.blur(); // what was typed is of the slice that is left
    let at = view.at[view.axis] + direction;
    if (view.axis === this.tool.acquired) {
      while (at >= 0 && at < view.count && !this.tool.isCounted(at)) at += direction;
    }
    if (at >= 0 && at < view.count) view.setSlice(at);
    typed?.focus();
    typed?.select();
  }
}

const short = (value) => String(+value.toPrecision(3));

function sizeText({ kind, value }) {
  if (kind === "none") return "No size";
  if (kind === "fraction") return `${short(100 * value)} %`;
  return value >= 1000 ? `${grouped(value / 1000)} mL` : `${short(value)} mm³`;
}

function intervalText({ kind, low, high }) {
  if (kind === "none") return "Only the place is kept.";
  if (kind === "fraction") return `of the picture; interval ${short(100 * low)} to ${short(100 * high)} %`;
  return high >= 1000 ? `interval ${grouped(low / 1000)} to ${grouped(high / 1000)} mL` : `interval ${short(low)} to ${short(high)} mm³`;
}

/** Three digits, thousands apart: 1 230. */
function grouped(value) {
  return (+value.toPrecision(3)).toLocaleString("en", { maximumFractionDigits: 4 }).replaceAll(",", "\u202f");
}

export const app = new App();

function listen() {
  const { view } = app;
  const canvas = element("canvas");
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const pointers = new Map();
  let action = null;
  let before = null; // state of the tool when it was pressed

  canvas.addEventListener("pointerdown", (event) => {
    if (view.facts === null) return;
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    const at = place(event);
    pointers.set(event.pointerId, at);
    view.cursor = null;
    if (pointers.size === 2) {
      if (action === "draw") app.tool.reset(before); // the first finger did not mean to draw
      action = "pinch";
    } else if (event.button === 2) action = "window";
    else if (event.button === 1 || event.shiftKey) action = "move";
    else if (event.button === 0) {
      action = "draw";
      before = structuredClone(app.tool.state);
      app.tool.press(at, view.mmOf(...at), event.pointerType === "touch" ? 26 : 12);
      view.draw();
    }
    event.preventDefault();
  });

  canvas.addEventListener("pointermove", (event) => {
    if (view.facts === null) return;
    const at = place(event);
    if (action === null) {
      if (app.tool.hover(at, view.mmOf(...at))) view.draw();
      return;
    }
    const last = pointers.get(event.pointerId) ?? at;
    if (action === "pinch" && pointers.size === 2) {
      const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, where]) => where);
      const length = (where) => Math.hypot(where[0] - other[0], where[1] - other[1]);
      view.zoomBy(length(at) / Math.max(length(last), 1), (at[0] + other[0]) / 2, (at[1] + other[1]) / 2);
      view.move((at[0] - last[0]) / 2, (at[1] - last[1]) / 2);
    } else if (action === "move") view.move(at[0] - last[0], at[1] - last[1]);
    else if (action === "window") {
      const [, low, high] = view.windows.at(-1);
      const per = (high - low) / 600;
      const width = Math.max(view.high - view.low + (at[0] - last[0]) * per * 2, per);
      const level = (view.high + view.low) / 2 - (at[1] - last[1]) * per;
      view.setWindow(level - width / 2, level + width / 2);
    } else if (action === "draw") {
      app.tool.drag(at, view.mmOf(...at));
      view.draw();
    }
    pointers.set(event.pointerId, at);
  });

  const end = (event) => {
    if (!pointers.delete(event.pointerId)) return;
    const at = place(event);
    if (action === "draw" && view.facts !== null) app.tool.release(at, view.mmOf(...at));
    if (pointers.size === 0) action = null;
  };
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());

  let turned = 0;
  const turn = (event) => {
    event.preventDefault();
    if (view.facts === null) return;
    if (event.ctrlKey) return view.zoomBy(Math.exp(-event.deltaY / 300), ...place(event));
    turned += event.deltaY;
    const step = event.deltaMode === 0 ? 40 : 1;
    if (Math.abs(turned) < step) return;
    app.step(turned > 0 ? -1 : 1);
    turned = 0;
  };
  canvas.addEventListener("wheel", turn, { passive: false });

  for (const button of document.querySelectorAll("[data-tool]")) button.onclick = () => app.useTool(button.dataset.tool);
  element("save").onclick = () => app.keep(app.tool.geometry());
  element("absent").onclick = () => app.keep({ method: "absent" });
  element("cannot-tell").onclick = () => app.keep({ method: "cannot_tell" });
  element("undo").onclick = () => app.undo();
  element("next").onclick = () => app.open(app.nextUnmeasured(app.current));
  element("back").onclick = () => app.open((app.current - 1 + app.tasks.length) % app.tasks.length);
  element("slice").oninput = (event) => view.setSlice(+event.target.value);
  element("slice-down").onclick = () => app.step(-1);
  element("slice-up").onclick = () => app.step(1);
  element("window").onchange = (event) => {
    const chosen = view.windows[+event.target.value];
    if (chosen) view.setWindow(chosen[1], chosen[2], +event.target.value);
  };
  element("zoom-in").onclick = () => view.zoomBy(1.25);
  element("zoom-out").onclick = () => view.zoomBy(0.8);
  element("zoom-fit").onclick = () => view.fit();
  element("step").onchange = (event) => app.showHint(app.tools.points.setStep(+event.target.value));
  element("every").onchange = (event) => app.showHint(app.tool.setEvery(+event.target.value));
  element("percent").oninput = (event) => app.showHint(app.tools.percent.set(+event.target.value));
  element("percent").onchange = (event) => {
    app.tools.percent.commit();
    if (event.target.value) app.showHint(app.tools.percent.set(+event.target.value));
  };
  for (const id of ["step", "every", "percent"]) {
    element(id).onblur = () => app.showOptions();
    element(id).addEventListener("wheel", (event) => { // over a box that is typed in, it would change the number, too
      if (document.activeElement === event.target) turn(event);
    }, { passive: false });
  }
  element("help-button").onclick = () => element("help").showModal();
  document.querySelector("#sign-in form").onsubmit = (event) => {
    event.preventDefault();
    app.signIn(element("reader").value, element("second-round").checked ? 2 : 1, false);
  };
  element("sign-in").oncancel = (event) => event.preventDefault();
  document.addEventListener("visibilitychange", () => {
    app.lastInput = performance.now();
  });
  for (const kind of ["pointerdown", "keydown", "wheel"]) document.addEventListener(kind, () => app.task && app.touch(), { passive: true });
  document.addEventListener("keydown", onKey);
}

const TOOL_KEYS = { l: "lines", e: "ellipse", p: "points", r: "percent", c: "click" };
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function onKey(event) {
  if (document.querySelector("dialog[open]") || app.task === undefined) return;
  const { target } = event;
  const isTyping = target.matches("input[type=number], select") || (target.matches("input[type=range]") && event.key in ARROWS);
  if (event.key === "Escape" || (isTyping && event.key === "Enter")) {
    target.blur();
    element("canvas").focus({ preventScroll: true });
    return;
  }
  if (isTyping || event.altKey || event.metaKey) return;
  if ((event.ctrlKey && event.key.toLowerCase() !== "z")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const isButton = target.matches("button");
  if (key in ARROWS && target.closest("[role=radiogroup]")) return moveInGroup(event);
  if ((key === "Enter" || key === " ") && isButton) return;
  if (act(key, event.shiftKey)) event.preventDefault();
}

/** Do what a key stands for; return false if it stands for nothing. */
function act(key, isShifted) {
  const { view } = app;
  if (key in TOOL_KEYS) app.useTool(TOOL_KEYS[key]);
  else if (key === "a") element("absent").click();
  else if (key === "t") element("cannot-tell").click();
  else if (key === "s") element("save").click();
  else if (key === "z" || key === "Backspace") app.undo();
  else if (key === "n") element("next").click();
  else if (key === "b") element("back").click();
  else if (key === "?") element("help").showModal();
  else if (view.facts === null) return false; // the scan cannot be read
  else if (key in ARROWS) {
    const [dx, dy] = ARROWS[key];
    view.moveCursor(dx, dy, (app.tool.cursorStep ?? Math.min(...view.spacing)) * (isShifted ? 10 : 1));
    if (app.tool.hover(view.screenOf(view.cursor), view.toMm(view.cursor))) view.draw();
  } else if (key === "Enter" || key === " ") {
    if (view.cursor === null) view.moveCursor(0, 0, 0);
    app.tool.place(view.toMm(view.cursor));
  } else if (key === "PageUp") app.step(1);
  else if (key === "PageDown") app.step(-1);
  else if (key === "w") view.nextWindow(isShifted ? -1 : 1);
  else if (key === "0") view.fit();
  else if (key === "+" || key === "=") view.zoomBy(1.25);
  else if (key === "-") view.zoomBy(0.8);
  else if (key === "[") app.showHint(app.tool.resize(-1));
  else if (key === "]") app.showHint(app.tool.resize(1));
  else if (key === "Delete") app.tool.remove();
  else if (["1", "2", "3"].includes(key)) view.setPlane(3 - key).then(() => app.changed(false));
  else return false;
  return true;
}

/** Arrows within a group of radio buttons choose the next one. */
function moveInGroup(event) {
  const buttons = [...event.target.closest("[role=radiogroup]").querySelectorAll("button")];
  const step = event.key === "ArrowRight" || event.key === "ArrowDown" ? 1 : -1;
  const next = buttons[(buttons.indexOf(event.target) + step + buttons.length) % buttons.length];
  event.preventDefault();
  next.focus();
  next.click();
}

listen();
app.begin().catch((error) => {
  element("sign-in-note").textContent = error.message;
  element("sign-in-note").hidden = false;
  element("sign-in").showModal();
});
