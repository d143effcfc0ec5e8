// Calls to the server. A reading that it does not answer is kept in the browser, and sent again until it is saved.

const RETRY_MS = 1500;

export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function answerOf(response) {
  let answer;
  try {
    answer = await response.json();
  } catch {
    throw new Refused(`medsize answered ${response.status}`, response.status);
  }
  if (!response.ok) throw new Refused(answer.error ?? `medsize answered ${response.status}`, response.status);
  return answer;
}

export async function get(path) {
  return answerOf(await fetch(path, { cache: "no-store" }));
}

export async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  return answerOf(await fetch(path, { method: "POST", headers, body: JSON.stringify(body), cache: "no-store" }));
}

/** A slice: rows from the top, columns from the left; `channels` is 3 in colour. */
export async function getSlice(scan, axis, at) {
  const response = await fetch(`slice?scan=${scan}&axis=${axis}&at=${at}`, { cache: "no-store" });
  if (!response.ok) await answerOf(response);
  const kinds = { int16: Int16Array, float32: Float32Array, uint8: Uint8ClampedArray };
  const values = new kinds[response.headers.get("X-Type")](await response.arrayBuffer());
  const [rows, columns, channels = 1] = response.headers.get("X-Shape").split(",").map(Number);
  return { values, rows, columns, channels };
}

export function newId() {
  return crypto.randomUUID();
}

let queue = "medsize-unsaved";

/** Keep the readings of each output folder apart: several cohorts may have the same port one after another. */
export function keepFor(output) {
  queue = `medsize-unsaved ${output}`;
}

export function unsaved() {
  try {
    return JSON.parse(localStorage.getItem(queue) ?? "[]");
  } catch {
    return [];
  }
}

function keep(readings) {
  localStorage.setItem(queue, JSON.stringify(readings));
}

/**
 * Save a reading. It is kept in the browser first; if the server does not answer, it is sent again and again.
 * Calls `waiting` once if it has to wait. Throws Refused if the server refuses it.
 */
export async function save(reading, waiting) {
  if (!unsaved().some((other) => other.id === reading.id)) keep([...unsaved(), reading]);
  for (let told = false; ; ) {
    try {
      const answer = await post("save", reading);
      forget(reading);
      return answer;
    } catch (error) {
      if (error instanceof Refused && error.status !== 507) {
        forget(reading);
        throw error;
      }
      if (!told) waiting(error instanceof Refused ? error.message : "");
      told = true;
      await new Promise((done) => setTimeout(done, RETRY_MS));
    }
  }
}

function forget(reading) {
  keep(unsaved().filter((other) => other.id !== reading.id));
}
