// Numbers as text.

const DIGITS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

// A power of ten that makes the largest number of an array easy to read in a cell: 0 where none is needed.
export function exponentFor(largest) {
  if (!(largest > 0) || !Number.isFinite(largest)) return 0;
  const power = Math.floor(Math.log10(largest));
  return power < -1 || power > 2 ? power : 0;
}

export function powerText(exponent) {
  const digits = [...String(Math.abs(exponent))].map((digit) => DIGITS[digit]).join("");
  return `10${exponent < 0 ? "⁻" : ""}${digits}`;
}

// In at most five characters: 0.12, -1.23, 12.3, 123. A hyphen is narrower than a minus.
export function cellText(value, exponent) {
  if (!Number.isFinite(value)) return String(value);
  if (value === 0) return "0";
  const scaled = value / 10 ** exponent;
  const size = Math.abs(scaled);
  const text = size.toFixed(size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2);
  return scaled < 0 && Number(text) ? `-${text}` : text;
}

// With four significant digits: 0.0471, −1.235e-7.
export function text(value, digits = 4) {
  if (!Number.isFinite(value)) return String(value);
  if (value === 0) return "0";
  const size = Math.abs(value);
  const shown = size < 1e-3 || size >= 1e6 ? size.toExponential(digits - 1) : String(Number(size.toPrecision(digits)));
  return value < 0 ? `−${shown}` : shown;
}

export function signed(value, digits = 4) {
  return value > 0 ? `+${text(value, digits)}` : text(value, digits);
}

export function indexText(index) {
  return `[${index.join(",")}]`;
}

// 13%, <1%
export function percent(share) {
  if (share > 0 && share < 0.005) return "<1%";
  return `${Math.round(100 * share)}%`;
}

export function escape(words) {
  return String(words).replace(/[&<>"]/g, (letter) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[letter]);
}
