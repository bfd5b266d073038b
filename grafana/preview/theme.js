/** Colours: Grafana's names as this page shows them, the palette of series, light and dark. */

const SHADES = ["super-light", "light", "", "semi-dark", "dark"];
const HUES = {
  green: ["#a6e3bd", "#6ccf95", "#2fae6b", "#1f9157", "#167346"],
  yellow: ["#fde9a6", "#f9d65c", "#e0ac10", "#c4930a", "#9c7406"],
  orange: ["#ffd5a8", "#ffb56b", "#ee8a2c", "#d4721a", "#ad5a10"],
  red: ["#ffb9b9", "#f88787", "#e5484d", "#c9343b", "#a4262d"],
  blue: ["#bcd6ff", "#86b4fb", "#3f7fe8", "#2d66c8", "#214f9f"],
  purple: ["#dccbff", "#bb9dfa", "#8b5fe0", "#7449c6", "#5a379d"],
};
const PALETTES = {
  light: ["#3f6fe0", "#12a594", "#ee8a2c", "#8b5fe0", "#d6437e", "#5a9f3c", "#2b93c4", "#c2921a", "#e5484d", "#76839a", "#96623b", "#aab4c4"],
  dark: ["#6d9bff", "#2cc4ae", "#ffa657", "#ad8aff", "#f06ea2", "#83c562", "#57b9e8", "#e3bb4f", "#ff7b7f", "#94a1b8", "#c9976f", "#5f6c82"],
};
const KEPT = "spendstream-theme";

/** "light" or "dark": what was chosen here before, or what the system prefers. */
export function theme() {
  return document.documentElement.dataset.theme;
}

export function startTheme(changed) {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    document.documentElement.dataset.theme = localStorage.getItem(KEPT) ?? (dark.matches ? "dark" : "light");
    changed();
  };
  dark.addEventListener("change", apply);
  apply();
}

export function switchTheme(changed) {
  const next = theme() === "dark" ? "light" : "dark";
  localStorage.setItem(KEPT, next);
  document.documentElement.dataset.theme = next;
  changed();
}

export const palette = () => PALETTES[theme()];

/** A colour of the style sheet, such as "text" for --text. */
export function styled(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** Grafana's name of a colour (semi-dark-red, text, #3274d9) as CSS has it; null stays null. */
export function colourOf(name) {
  if (!name) return null;
  if (name === "text") return styled("text");
  if (name === "transparent") return "transparent";
  if (/^#[0-9a-f]{3,8}$/i.test(name)) return name;
  const found = /^(?:(super-light|light|semi-dark|dark)-)?(\w+)$/.exec(name);
  const shade = SHADES.indexOf(found?.[1] ?? "") + (theme() === "light" ? 1 : 0); // darker on white, to be read as text
  return HUES[found?.[2]]?.[Math.min(shade, SHADES.length - 1)] ?? null;
}
