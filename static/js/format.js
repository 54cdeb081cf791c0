// Numbers as people read them. Pure.

const BINARY_UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const DECIMAL_UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

function scaled(count, base, units) {
  if (!Number.isFinite(count)) return "–";
  let value = Math.max(0, count);
  let unit = 0;
  while (Math.round(value) >= base && unit < units.length - 1) {
    value /= base;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${Number(value.toFixed(digits))} ${units[unit]}`;
}

// Memory, in the units of `docker stats`: 212 MiB.
export const memory = (count) => scaled(count, 1024, BINARY_UNITS);

// What lies on disks and goes over networks, in the units of `docker images`: 1.98 MB.
export const size = (count) => scaled(count, 1000, DECIMAL_UNITS);

export const rate = (perSecond) => (Number.isFinite(perSecond) ? `${size(perSecond)}/s` : "–");

export function percent(value) {
  if (!Number.isFinite(value)) return "–";
  return `${value.toFixed(value >= 100 ? 0 : 1)} %`;
}

export const count = (value) => (Number.isFinite(value) ? value.toLocaleString(document.documentElement.lang) : "–");
