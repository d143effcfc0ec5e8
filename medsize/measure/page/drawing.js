// Marks on a slice, and vectors.

export const COLOUR = "#ffb000";
export const OTHER = "#56b4e9";

export const add = (a, b) => a.map((value, i) => value + b[i]);
export const subtract = (a, b) => a.map((value, i) => value - b[i]);
export const times = (a, factor) => a.map((value) => value * factor);
export const middle = (a, b) => times(add(a, b), 0.5);
export const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
export const norm = (a) => Math.sqrt(dot(a, a));
export const distance = (a, b) => norm(subtract(a, b));
export const cross = ([a, b, c], [x, y, z]) => [b * z - c * y, c * x - a * z, a * y - b * x];
export const unit = (a) => times(a, 1 / norm(a));

/** Stroke a path twice, so that it is seen on dark and bright. */
export function stroke(context, path, colour = COLOUR, width = 2, dash = []) {
  for (const [style, thickness] of [["#000c", width + 2], [colour, width]]) {
    context.strokeStyle = style;
    context.lineWidth = thickness;
    context.setLineDash(dash);
    context.beginPath();
    path(context);
    context.stroke();
  }
  context.setLineDash([]);
}

export function line(context, [ax, ay], [bx, by], colour, dash) {
  stroke(context, (c) => { c.moveTo(ax, ay); c.lineTo(bx, by); }, colour, 2, dash);
}

export function handle(context, [x, y], colour = COLOUR) {
  context.fillStyle = "#000";
  context.strokeStyle = colour;
  context.lineWidth = 2;
  context.beginPath();
  context.arc(x, y, 5, 0, 2 * Math.PI);
  context.fill();
  context.stroke();
}

export function cross2d(context, [x, y], colour = COLOUR) {
  stroke(context, (c) => {
    c.moveTo(x - 9, y); c.lineTo(x + 9, y);
    c.moveTo(x, y - 9); c.lineTo(x, y + 9);
  }, colour);
}

/** An ellipse through the ends of two half axes, on the screen. */
export function ellipse(context, [x, y], [ax, ay], [bx, by], colour, dash) {
  stroke(context, (c) => {
    for (let i = 0; i <= 72; i++) {
      const [cos, sin] = [Math.cos((i * Math.PI) / 36), Math.sin((i * Math.PI) / 36)];
      const point = [x + ax * cos + bx * sin, y + ay * cos + by * sin];
      if (i === 0) c.moveTo(...point); else c.lineTo(...point);
    }
  }, colour, 2, dash);
}

export function label(context, text, [x, y], colour = COLOUR) {
  context.font = "600 13px system-ui, sans-serif";
  context.textAlign = "left";
  context.textBaseline = "middle";
  const width = context.measureText(text).width;
  context.fillStyle = "#000b";
  context.fillRect(x + 8, y - 10, width + 10, 20);
  context.fillStyle = colour;
  context.fillText(text, x + 13, y + 1);
}
