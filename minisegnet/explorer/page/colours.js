// One colour, one meaning: values from grey to teal, gradients blue below zero and orange above, weights violet.

const THEMES = {
  light: {
    value: [[232, 235, 237], [120, 178, 172], [0, 92, 88]],
    gradient: [[20, 90, 170], [150, 190, 225], [243, 242, 238], [246, 190, 125], [190, 85, 0]],
    weight: [[110, 70, 170], [190, 170, 220], [246, 244, 250], [190, 170, 220], [110, 70, 170]],
  },
  dark: {
    value: [[50, 56, 64], [50, 120, 116], [120, 230, 215]],
    gradient: [[110, 180, 250], [55, 95, 145], [46, 50, 57], [140, 90, 40], [255, 175, 85]],
    weight: [[185, 150, 245], [105, 85, 145], [46, 46, 58], [105, 85, 145], [185, 150, 245]],
  },
};

export function isDark() {
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

// What kind of number an array holds.
export function meaning(name) {
  const base = name.split(".")[0];
  if (base === "weight" || base === "bias") return "weight";
  return base.startsWith("d") ? "gradient" : "value";
}

// A function from numbers to [red, green, blue]. Values go from low to high, the others evenly around zero.
export function palette(kind, low, high) {
  const stops = THEMES[isDark() ? "dark" : "light"][kind];
  const largest = Math.max(-low, high) || 1; // zeros alone lie in the middle, too
  const [from, to] = kind === "value" ? [low, high] : [-largest, largest];
  const width = to - from || 1;
  return (value) => {
    const place = Math.min(1, Math.max(0, (value - from) / width)) * (stops.length - 1);
    const k = Math.min(stops.length - 2, Math.floor(place) || 0);
    return stops[k].map((part, i) => Math.round(part + ((place - k) || 0) * (stops[k + 1][i] - part)));
  };
}

export function css([red, green, blue]) {
  return `rgb(${red},${green},${blue})`;
}

// Black or white, whichever is easier to read on a colour.
export function ink([red, green, blue]) {
  return 0.299 * red + 0.587 * green + 0.114 * blue > 140 ? "#10141b" : "#ffffff";
}
