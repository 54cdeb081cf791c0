// Numbers as people read them. Pure.

const BYTE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

export function bytes(count) {
  if (!Number.isFinite(count)) return "–";
  let value = Math.max(0, count);
  let unit = 0;
  while (value >= 1024 && unit < BYTE_UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : 1;
  return `${value.toFixed(digits)} ${BYTE_UNITS[unit]}`;
}

export const rate = (perSecond) => (Number.isFinite(perSecond) ? `${bytes(perSecond)}/s` : "–");

export function percent(value) {
  if (!Number.isFinite(value)) return "–";
  return `${value.toFixed(value >= 100 ? 0 : 1)} %`;
}

export const count = (value) => (Number.isFinite(value) ? value.toLocaleString(document.documentElement.lang) : "–");
