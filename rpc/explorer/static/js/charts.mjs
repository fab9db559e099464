/**
 * Draws a page's charts with uPlot, from the table that stands below each: its first column are times, the others series.
 *
 * Without this script, or without uPlot, the server's own drawing stands. The arrow keys move the cursor as the mouse does.
 */

const HEIGHT = 176;
const AXIS_PX = 12;
const DAY_S = 86_400;
const KEYS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };

/**
 * The figures of a table: Unix times, the names of its series, and their values with null where there is none.
 *
 * @param {HTMLTableElement} table
 */
export function figuresOf(table) {
  const rows = [...table.tBodies[0].rows];
  const names = [...table.tHead.rows[0].cells].slice(1).map((cell) => cell.textContent);
  const valueOf = (cell) => (cell.dataset.value === undefined ? null : Number(cell.dataset.value));
  const times = rows.map((row) => Date.parse(row.querySelector('time').dateTime) / 1_000);
  return { names, data: [times, ...names.map((_, i) => rows.map((row) => valueOf(row.cells[i + 1])))] };
}

async function drawAll() {
  const figures = [...document.querySelectorAll('figure[data-chart]')];
  if (figures.length === 0) return;
  let Plot;
  try {
    Plot = (await import('../vendor/uplot.mjs')).default;
  } catch {
    return; // not built: the server's drawing stands
  }
  for (const figure of figures) new Drawing(Plot, figure);
}

class Drawing {
  constructor(Plot, figure) {
    Object.assign(this, { Plot, figure });
    this.place = document.createElement('div');
    this.place.className = 'drawn';
    this.place.tabIndex = 0;
    this.place.setAttribute('role', 'img');
    const svg = figure.querySelector('svg');
    for (const name of ['aria-labelledby', 'aria-describedby']) this.place.setAttribute(name, svg.getAttribute(name));
    this.readout = document.createElement('p');
    this.readout.className = 'readout';
    this.readout.setAttribute('aria-live', 'polite');
    svg.before(this.place, this.readout);
    svg.setAttribute('hidden', '');
    this.draw();
    figure.addEventListener('renewed', () => this.renew());
    new ResizeObserver(() => this.plot.setSize({ width: this.place.clientWidth, height: HEIGHT })).observe(this.place);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.draw());
    this.place.addEventListener('keydown', (event) => this.key(event));
  }

  draw() {
    this.plot?.destroy();
    const { names, data } = this.figures();
    this.plot = new this.Plot(this.options(names), data, this.place);
  }

  renew() {
    this.plot.setData(this.figures().data);
  }

  figures() {
    return figuresOf(this.figure.querySelector('table'));
  }

  options(names) {
    const { Plot, figure } = this;
    const style = getComputedStyle(figure);
    const [soft, line] = [style.color, style.borderTopColor];
    // A canvas takes no light-dark(): the colour is what the browser makes of it.
    const colour = (i) => resolved(figure, `var(--series-${names.length === 1 ? 1 : i})`);
    const bars = figure.dataset.chart === 'bars';
    const axis = { stroke: resolved(figure, 'var(--soft)') || soft, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1, size: 4 }, font: `${AXIS_PX}px system-ui, sans-serif` };
    return {
      width: this.place.clientWidth,
      height: HEIGHT,
      legend: { show: false },
      cursor: { y: false, drag: { setScale: false, x: false, y: false } },
      scales: { x: { time: true, range: (_, low, high) => (bars ? [low - 30, high + 30] : [low, high]) }, y: { range: (_, low, high) => [0, Math.max(high ?? 0, 1) * 1.1] } },
      axes: [
        { ...axis, size: 30, grid: { show: false }, values: (plot, times) => times.map((time) => shownTime(plot.data[0], time)) },
        { ...axis, size: 52, values: (_, values) => values.map((value) => value.toLocaleString('en')) },
      ],
      series: [
        {},
        ...names.map((label, i) => ({
          label,
          stroke: colour(i),
          width: bars ? 0 : 2,
          fill: bars ? colour(i) : undefined,
          paths: bars ? Plot.paths.bars({ size: [0.8, 60] }) : undefined,
          points: { show: !bars, size: 5, fill: colour(i) },
          spanGaps: false,
        })),
      ],
      hooks: { setCursor: [(plot) => this.tell(plot)], ready: [(plot) => this.tell(plot)] },
    };
  }

  /** Say what stands under the cursor; elsewhere, which series has which colour. */
  tell(plot) {
    const { idx } = plot.cursor;
    const none = idx === null || idx === undefined;
    const time = document.createElement('b');
    time.textContent = none ? '' : shownTime(plot.data[0], plot.data[0][idx]);
    const unit = this.figure.dataset.unit ? ` ${this.figure.dataset.unit}` : '';
    const parts = plot.series.slice(1).flatMap(({ label }, i) => {
      const mark = document.createElement('i');
      mark.className = `series-${plot.series.length === 2 ? 1 : i}`;
      const value = none ? undefined : plot.data[i + 1][idx];
      if (value === undefined) return [mark, label];
      return [mark, `${label}: ${value === null ? '–' : `${value.toLocaleString('en')}${unit}`}`];
    });
    this.readout.replaceChildren(time, ...parts);
  }

  key(event) {
    const step = KEYS[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const { plot } = this;
    const last = plot.data[0].length - 1;
    const from = plot.cursor.idx ?? (step > 0 ? -1 : last + 1);
    const at = Math.min(Math.max(from + step, 0), last);
    plot.setCursor({ left: plot.valToPos(plot.data[0][at], 'x'), top: 0 });
  }
}

/** A time in UTC, as everywhere on these pages: hours and minutes, the date of more than a day, seconds of less than an hour. */
export function shownTime(times, time) {
  const [span, text] = [times[times.length - 1] - times[0], new Date(time * 1_000).toISOString()];
  if (span > DAY_S) return text.slice(0, 10);
  return text.slice(11, span < DAY_S / 96 ? 19 : 16);
}

/** A colour as this browser resolves it, from variables and light-dark(). */
function resolved(figure, colour) {
  const probe = document.createElement('span');
  probe.hidden = true;
  figure.append(probe);
  probe.style.color = colour;
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

if (globalThis.document) await drawAll();
