// Lines over time, drawn with uPlot: one figure per chart, its newest values beside the title.

const GAP = null;

// Round marks: 1, 2, 4 … times a power of 1024, or 1, 2, 5 times a power of ten.
export function niceStep(span, marks, base = 1000) {
  const least = span / marks;
  let step = 1;
  while (step * base <= least) step *= base;
  const steps = base === 1024 ? [1, 2, 4, 8, 16, 32, 64, 128, 256, 512] : [1, 2, 5, 10, 20, 50, 100, 200, 500];
  for (const by of steps) if (step * by >= least) return step * by;
  return step * base;
}

function splits(low, high, base) {
  const step = niceStep(high - low, 4, base);
  const found = [];
  for (let mark = Math.ceil(low / step) * step; mark <= high; mark += step) found.push(mark);
  return found;
}

const timeOfDay = (second) => new Date(second * 1000).toLocaleTimeString(document.documentElement.lang, { hour12: false });
const minuteOfDay = (second) =>
  new Date(second * 1000).toLocaleTimeString(document.documentElement.lang, { hour12: false, hour: "2-digit", minute: "2-digit" });

// root holds <figure data-chart="name"> with .chart-canvas and [data-now="n"] per line.
// specs: {name: {keys, format, floor, top?, base?}}; floor: the least height of the scale; top(sample): its fixed height.
export class Charts {
  constructor(root, specs, { kept, shown_s, least_s, gap_s, compact = false }) {
    Object.assign(this, { root, specs, kept, shown_s, least_s, gap_s, compact });
    this.times = [];
    this.columns = Object.fromEntries(Object.values(specs).flatMap(({ keys }) => keys.map((key) => [key, []])));
    this.drawn = new Map(); // name -> uPlot
    document.addEventListener("webdock:theme", () => this.drawn.size && this.draw());
    new ResizeObserver(() => this.fit()).observe(root);
  }

  // A sample: {at (ms), key: number …}. Nothing is drawn before show().
  push(sample) {
    const { times, columns } = this;
    const at = sample.at / 1000;
    if (times.length && at <= times.at(-1)) return;
    if (times.length && at - times.at(-1) > this.gap_s) this.note(times.at(-1) + this.gap_s / 5, {});
    this.note(at, sample);
    this.newest = sample;
    while (times.length > this.kept) {
      times.shift();
      for (const column of Object.values(columns)) column.shift();
    }
  }

  // A hole in the line where nothing was heard.
  note(at, sample) {
    this.times.push(at);
    for (const [key, column] of Object.entries(this.columns)) column.push(sample[key] ?? GAP);
  }

  clear() {
    this.times.length = 0;
    for (const column of Object.values(this.columns)) column.length = 0;
  }

  show() {
    if (document.hidden) return;
    if (!this.drawn.size) this.draw();
    for (const [name, chart] of this.drawn) {
      chart.setData(this.data(name));
      if (chart.cursor.idx == null || chart.cursor.left < 0) this.showValues(name);
    }
  }

  data(name) {
    return [this.times, ...this.specs[name].keys.map((key) => this.columns[key])];
  }

  figure(name) {
    return this.root.querySelector(`[data-chart="${name}"]`);
  }

  draw() {
    for (const name of Object.keys(this.specs)) {
      const element = this.figure(name).querySelector(".chart-canvas");
      this.drawn.get(name)?.destroy();
      this.drawn.set(name, new globalThis.uPlot(this.options(name, element), this.data(name), element));
    }
  }

  fit() {
    for (const [name, chart] of this.drawn) {
      const element = this.figure(name).querySelector(".chart-canvas");
      if (element.clientWidth) chart.setSize({ width: element.clientWidth - 12, height: element.clientHeight - 6 });
    }
  }

  // The values under the pointer, or the newest.
  showValues(name, at) {
    const { keys, format } = this.specs[name];
    const index = at ?? this.times.length - 1;
    keys.forEach((key, n) => {
      const text = format(this.columns[key][index] ?? NaN);
      const place = this.figure(name).querySelector(`[data-now="${n}"]`);
      if (place.textContent !== text) place.textContent = text;
    });
  }

  // As wide as what was heard, between the least and the most.
  window() {
    const end = this.times.at(-1) ?? Date.now() / 1000;
    const width = Math.min(this.shown_s, Math.max(this.least_s, end - (this.times[0] ?? end)));
    return [end - width, end];
  }

  // Colours with light-dark() resolved: a canvas does not understand it.
  colour(name) {
    const probe = document.createElement("span");
    probe.hidden = true;
    probe.style.color = `var(${name})`;
    this.root.append(probe);
    const value = getComputedStyle(probe).color;
    probe.remove();
    return value;
  }

  options(name, element) {
    const { keys, format, mark = format, floor, top, base } = this.specs[name];
    const axis = {
      stroke: this.colour("--faint"),
      grid: { stroke: this.colour("--line"), width: 1 },
      ticks: { show: false },
      font: `11px ${getComputedStyle(document.body).fontFamily}`,
    };
    const clock = this.shown_s > 600 ? minuteOfDay : timeOfDay;
    return {
      width: element.clientWidth - 12,
      height: element.clientHeight - 6,
      legend: { show: false },
      cursor: { y: false, points: { size: 6 } },
      padding: [8, this.compact ? 16 : 8, 0, 0],
      scales: {
        x: { time: true, range: () => this.window() },
        y: { range: (_, __, high) => [0, (this.newest && top?.(this.newest)) || Math.max(floor, (high ?? 0) * 1.15)] },
      },
      axes: [
        { ...axis, space: this.compact ? 46 : 80, size: this.compact ? 22 : 26, values: (_, marks) => marks.map(clock) },
        {
          ...axis,
          size: this.compact ? 56 : 72,
          space: this.compact ? 24 : 34,
          values: (_, marks) => marks.map(mark),
          ...(base ? { splits: (_, __, low, high) => splits(low, high, base) } : {}),
        },
      ],
      series: [
        {},
        ...keys.map((key, at) => ({
          label: key,
          stroke: this.colour(`--series-${at + 1}`),
          fill: at === 0 ? this.colour("--series-fill") : undefined,
          width: 1.5,
          points: { show: false },
          spanGaps: false,
        })),
      ],
      hooks: { setCursor: [(chart) => this.showValues(name, chart.cursor.idx)] },
    };
  }
}
