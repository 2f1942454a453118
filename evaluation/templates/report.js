// The only script of the page. It reckons from the counts in the page (see evaluation/explorer.py, which does the same
// sums), sorts and filters tables, and asks for nothing from outside. Without it the page shows the model's threshold.
(() => {
  "use strict";
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const NONE = "not measured";

  // Rounds halves to even, as the figures that the page starts with are.
  const fixed = (value, digits) => {
    const scaled = value * 10 ** digits;
    const tie = Number.isInteger(value * 2 ** 20) && Math.abs(scaled % 1) === 0.5;
    const rounded = tie ? 2 * Math.round(scaled / 2) : null;
    return (tie ? rounded / 10 ** digits : Number(value.toFixed(digits))).toLocaleString("en-GB", {
      minimumFractionDigits: digits, maximumFractionDigits: digits,
    });
  };
  const percent = (value) => (value === null ? NONE : `${fixed(100 * value, 1)}%`);
  const number = (value, digits = 1) => (value === null ? NONE : fixed(value, digits));
  const aDay = (value) => (value !== null && value > 0 && value < 0.05 ? "under 0.1" : number(value));
  const whole = (value) => value.toLocaleString("en-GB");
  const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

  // 95% Wilson score interval, as stalkscreen.metrics.rate.
  const rate = (n, of) => {
    if (!of) return { n, of, value: null, low: null, high: null };
    const z = 1.959963984540054, p = n / of, scale = 1 + z * z / of;
    const middle = (p + z * z / (2 * of)) / scale;
    const half = z / scale * Math.sqrt(p * (1 - p) / of + z * z / (4 * of * of));
    return { n, of, value: p, low: Math.max(0, middle - half), high: Math.min(1, middle + half) };
  };
  const counted = (r) => (r.value === null ? "0 of 0" : `${whole(r.n)} of ${whole(r.of)}; ${percent(r.low)} to ${percent(r.high)}`);

  class Explorer {
    constructor(root) {
      this.root = root;
      this.id = root.dataset.part;
      this.data = JSON.parse(root.querySelector("script").textContent);
      this.bins = this.data.edges.length - 1;
      this.totals = this.data.counts.map(sum);
      // Sums from the top down: above[g][i] counts group g at or above edge i.
      this.above = this.data.counts.map((counts) => {
        const out = new Array(this.bins + 1).fill(0);
        for (let i = this.bins - 1; i >= 0; i -= 1) out[i] = out[i + 1] + counts[i];
        return out;
      });
      this.inputs = Object.fromEntries(all("[data-in]", root).map((input) => [input.dataset.in, input]));
      this.state = this.first();
      this.line();
      for (const [name, input] of Object.entries(this.inputs)) {
        input.addEventListener(input.type === "range" ? "input" : "change", () => this.read(name, input));
      }
      all("[data-do]", root).forEach((button) => button.addEventListener("click", () => this[button.dataset.do]()));
      all("[hidden]", root).forEach((part) => part.removeAttribute("hidden"));
      this.fromHash();
      this.show(false);
      addEventListener("hashchange", () => { if (this.fromHash()) this.show(false); });
    }

    first() { return { i: this.data.review, ...this.data.start }; }

    reset() { this.state = this.first(); this.show(true); }

    fill() { this.state.i = Math.min(this.toFill(), this.bins - 1); this.show(true); }

    nearest(threshold) {
      let best = 0;
      this.data.edges.forEach((edge, i) => {
        if (i < this.bins && Math.abs(edge - threshold) < Math.abs(this.data.edges[best] - threshold)) best = i;
      });
      return best;
    }

    read(name, input) {
      const note = document.getElementById(input.getAttribute("aria-describedby")), value = input.valueAsNumber;
      if (input.type === "checkbox") {
        this.state.n = input.checked ? null : this.inputs.n.valueAsNumber / 100;
      } else if (input.type === "number" && !(value >= Number(input.min) && value <= Number(input.max))) {
        input.setAttribute("aria-invalid", "true");
        note.textContent = `Enter a number from ${whole(Number(input.min))} to ${whole(Number(input.max))}.`;
        return;
      } else if (name === "range") this.state.i = value;
      else if (name === "t") this.state.i = this.nearest(value);
      else this.state[name] = name === "p" || name === "n" ? value / 100 : value;
      if (note) note.textContent = "";
      input.removeAttribute("aria-invalid");
      this.show(true);
    }

    // Expected records a day with a score in bins first..last-1: [truly stalking, not]; null when unmeasured.
    aDay(first, last) {
      const part = (...groups) => {
        const of = sum(groups.map((g) => this.totals[g]));
        return of ? sum(groups.map((g) => this.above[g][first] - this.above[g][last])) / of : null;
      };
      const { p, v, n } = this.state;
      const found = part(0), mixed = n === null ? part(1, 2, 3) : (1 - n) * part(1) + n * part(2);
      return found === null || mixed === null ? null : [v * p * found, v * (1 - p) * mixed];
    }

    toFill() {
      for (let i = 0; i < this.bins; i += 1) {
        const alerts = this.aDay(i, this.bins);
        if (alerts === null) return null;
        if (sum(alerts) <= this.state.c) return i;
      }
      return this.bins;
    }

    at(i) {
      const { p, v, m, n } = this.state;
      const flagged = this.above.map((counts) => counts[i]);
      const [yes, no] = [flagged[0], flagged[1] + flagged[2] + flagged[3]];
      const others = this.totals[1] + this.totals[2] + this.totals[3];
      const recall = rate(yes, this.totals[0]), every = rate(no, others);
      let mixed = every;
      if (n !== null) {
        const [a, b] = [rate(flagged[1], this.totals[1]), rate(flagged[2], this.totals[2])];
        mixed = Object.fromEntries(["value", "low", "high"].map((end) => [end, (1 - n) * a[end] + n * b[end]]));
      }
      const known = recall.value !== null && mixed.value !== null;
      const alerts = (end) => (known ? v * (p * recall[end] + (1 - p) * mixed[end]) : null);
      const right = (r, f) => (known && p * r + (1 - p) * f > 0 ? p * r / (p * r + (1 - p) * f) : null);
      const day = this.aDay(i, this.bins);
      return {
        threshold: this.data.edges[i], recall, precision: rate(yes, yes + no),
        specificity: rate(others - no, others), missed: rate(this.totals[0] - yes, this.totals[0]), false: every,
        alerts: { value: alerts("value"), low: alerts("low"), high: alerts("high") },
        right: { value: right(recall.value, mixed.value), low: right(recall.low, mixed.high), high: right(recall.high, mixed.low) },
        hours: Object.fromEntries(["value", "low", "high"].map((end) => [end, known ? alerts(end) * m / 60 : null])),
        foundADay: day && day[0], missedADay: day && v * p - day[0], falseADay: day && day[1],
      };
    }

    put(name, text) { all(`[data-out="${name}"]`, this.root).forEach((place) => { place.textContent = text; }); }

    show(moved) {
      const s = this.state, now = this.at(s.i), put = (name, text) => this.put(name, text);
      this.inputs.range.value = s.i;
      this.inputs.range.setAttribute("aria-valuetext", number(now.threshold, 3));
      this.inputs.t.value = now.threshold.toFixed(3);
      this.inputs.p.value = Number((100 * s.p).toFixed(4));
      this.inputs.v.value = s.v;
      this.inputs.m.value = s.m;
      this.inputs.c.value = s.c;
      if (this.inputs.n) {
        if (s.n !== null) this.inputs.n.value = Number((100 * s.n).toFixed(4));
        this.inputs.n.disabled = s.n === null;
        this.inputs.set.checked = s.n === null;
      }
      put("threshold", number(now.threshold, 3));
      put("is-review", s.i === this.data.review ? " (the model's own)" : "");
      put("prevalence", `${Number((100 * s.p).toFixed(4))}%`);
      put("volume", whole(s.v));
      put("minutes", whole(s.m));
      put("mix", s.n === null ? "what is not stalking is mixed as in this set"
        : `${Number((100 * s.n).toFixed(4))}% of what is not stalking is near misses and the rest ordinary`);
      for (const name of ["recall", "precision", "specificity", "missed", "false"]) {
        put(name, percent(now[name].value));
        put(`${name}-of`, counted(now[name]));
      }
      const ends = (figure, say) => (figure.value === null ? "" : `${say(figure.low)} to ${say(figure.high)}`);
      put("alerts", aDay(now.alerts.value));
      put("alerts-of", ends(now.alerts, aDay));
      put("right", percent(now.right.value));
      put("right-of", ends(now.right, percent));
      put("hours", aDay(now.hours.value));
      put("hours-of", ends(now.hours, aDay));
      put("found-a-day", aDay(now.foundADay));
      put("missed-a-day", aDay(now.missedADay));
      put("false-a-day", aDay(now.falseADay));
      put("few", this.warning(now));
      put("capacity", this.capacity());
      this.queue();
      if (this.mark) {
        const x = 560 * now.threshold;
        this.mark[0].setAttribute("transform", `translate(${x},0)`);
        this.mark[1].setAttribute("transform", `translate(${x + (x > 448 ? -6 : 6)},14)`);
        this.mark[1].setAttribute("text-anchor", x > 448 ? "end" : "start");
        this.mark[1].textContent = `chosen ${number(now.threshold, 3)}`;
        this.mark.forEach((mark) => mark.setAttribute("display", s.i === this.data.review ? "none" : "inline"));
      }
      if (moved) {
        clearTimeout(this.later);
        this.later = setTimeout(() => { put("summary", this.summary(now)); this.toHash(); }, 300);
      } else put("summary", this.summary(now));
    }

    summary(now) {
      if (now.alerts.value === null) return `At a threshold of ${number(now.threshold, 3)}: the set lacks one of the two classes, so a live stream cannot be worked out.`;
      return `At a threshold of ${number(now.threshold, 3)}: ${percent(now.recall.value)} of stalking found, `
        + `${aDay(now.alerts.value)} alerts a day, of which right: ${percent(now.right.value)}; `
        + `${aDay(now.missedADay)} records of stalking missed a day; ${aDay(now.hours.value)} reviewer hours a day.`;
    }

    warning(now) {
      const said = [];
      if (this.totals[0] < this.data.few) said.push(`Only ${whole(this.totals[0])} records are truly stalking: recall is uncertain, see its interval.`);
      if (now.false.of && now.false.n < this.data.fewFalse) said.push(`Only ${whole(now.false.n)} records are falsely flagged here: alerts and precision in a live stream rest on next to nothing.`);
      return said.join(" ");
    }

    capacity() {
      const i = this.toFill(), { c, v, p } = this.state, button = this.root.querySelector("[data-do=fill]");
      button.disabled = i === null || i === this.bins;
      if (i === null) return "Not measured: the set lacks one of the two classes.";
      if (i === this.bins) return `More than ${whole(c)} a day have scores in the highest band of this set, so no threshold gives so few.`;
      const now = this.at(i);
      return `To read ${whole(c)} a day at most, the threshold is ${number(now.threshold, 3)}: ${aDay(now.alerts.value)} alerts a day, `
        + `which catch ${aDay(now.foundADay)} of ${aDay(v * p)} stalking records a day (${percent(now.recall.value)}; `
        + `95% interval ${percent(now.recall.low)} to ${percent(now.recall.high)}) and miss ${aDay(now.missedADay)}.`;
    }

    queue() {
      const body = this.root.querySelector("[data-queue]"), { edges, bands } = this.data;
      const near = (band) => edges.reduce((best, edge, i) => (Math.abs(edge - band) < Math.abs(edges[best] - band) ? i : best), 0);
      const places = [...new Set([this.state.i, ...bands.map(near)])].sort((a, b) => b - a);
      let read = 0, caught = 0;
      const rows = places.slice(1).map((first, k) => {
        const last = places[k], day = this.aDay(first, last), a = day && sum(day);
        const inside = this.above.map((counts) => counts[first] - counts[last]);
        if (day) { read += a; caught += inside[0] / this.totals[0]; }
        return [`${number(edges[first], 3)} to ${number(edges[last], 3)}`, first >= this.state.i ? "in the queue" : "not flagged",
          whole(sum(inside)), whole(inside[0]), aDay(a), percent(day && a ? day[0] / a : null), aDay(day && read), percent(day && caught)];
      });
      body.replaceChildren(...rows.map((cells) => {
        const tr = document.createElement("tr");
        if (cells[1] === "in the queue") tr.className = "chosen";
        cells.forEach((text, place) => {
          const cell = document.createElement(place ? "td" : "th");
          if (place) { if (place > 1) cell.className = "num"; } else cell.scope = "row";
          cell.textContent = text;
          tr.append(cell);
        });
        return tr;
      }));
    }

    line() {
      const chart = document.getElementById(`${this.id}-thresholds-chart`);
      const rule = chart && chart.querySelector(".layer_1_marks line"), text = chart && chart.querySelector(".layer_2_marks text");
      if (!rule || !text) return;
      this.mark = [rule, text].map((shape) => shape.parentNode.appendChild(shape.cloneNode(true)));
      this.mark[0].setAttribute("stroke-dasharray", "5 4");
    }

    // The state stands in the address, so that a view can be linked: #part1.t=0.47&part1.p=0.8&…
    toHash() {
      const s = this.state, mine = { t: this.data.edges[s.i], p: 100 * s.p, v: s.v, m: s.m, c: s.c, n: s.n === null ? "set" : 100 * s.n };
      const kept = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
      Object.entries(mine).forEach(([key, value]) => kept.set(`${this.id}.${key}`, typeof value === "number" ? Number(value.toPrecision(12)) : value));
      // A sandboxed frame may refuse; then there is no address to link and nothing else is lost.
      try { history.replaceState(null, "", `#${kept}`); } catch { /* nothing to do */ }
    }

    fromHash() {
      const asked = new URLSearchParams(location.hash.slice(1)), get = (key) => asked.get(`${this.id}.${key}`);
      const given = (key, min, max) => {
        const value = get(key) === null || get(key) === "" ? NaN : Number(get(key));
        return value >= min && value <= max ? value : null;
      };
      let found = false;
      const take = (key, value) => { if (value !== null) { this.state[key] = value; found = true; } };
      const t = given("t", 0, 1), limits = (key) => [Number(this.inputs[key].min), Number(this.inputs[key].max)];
      take("i", t === null ? null : this.nearest(t));
      const p = given("p", ...limits("p"));
      take("p", p === null ? null : p / 100);
      for (const key of ["v", "m", "c"]) take(key, given(key, ...limits(key)));
      if (this.inputs.n) {
        if (get("n") === "set") { this.state.n = null; found = true; }
        const n = given("n", 0, 100);
        take("n", n === null ? null : n / 100);
      }
      return found;
    }
  }

  const sortable = (table) => {
    const heads = all("thead th", table), body = table.tBodies[0];
    const key = (row, place) => {
      const cell = row.cells[place], given = cell && cell.dataset.v;
      if (given === undefined) return cell ? cell.textContent.trim() : "";
      return given === "" ? null : Number(given);
    };
    const order = new Intl.Collator("en-GB", { numeric: true });
    heads.forEach((head, place) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      const arrow = document.createElement("span");
      arrow.setAttribute("aria-hidden", "true");
      arrow.className = "arrow";
      button.append(arrow);
      head.append(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const falling = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.setAttribute("aria-sort", other === head ? (falling ? "descending" : "ascending") : "none"));
        const rows = [...body.rows].map((row) => [key(row, place), row]);
        rows.sort(([a], [b]) => {
          // What is not measured comes last either way.
          if (a === null || b === null) return (a === null) - (b === null);
          const way = typeof a === "number" && typeof b === "number" ? a - b : order.compare(String(a), String(b));
          return falling ? -way : way;
        });
        body.append(...rows.map(([, row]) => row));
      });
    });
  };

  const filterable = (table) => {
    const rows = [...table.tBodies[0].rows], region = table.closest(".wide");
    if (rows.length < 6 || !region) return;
    const box = document.createElement("div"), label = document.createElement("label"), input = document.createElement("input"), said = document.createElement("span");
    box.className = "filter";
    input.type = "search";
    input.id = `${table.caption.id}-filter`;
    label.htmlFor = input.id;
    label.textContent = `Filter: ${table.caption.textContent}`;
    said.setAttribute("role", "status");
    const texts = rows.map((row) => row.textContent.toLocaleLowerCase("en-GB"));
    input.addEventListener("input", () => {
      const words = input.value.toLocaleLowerCase("en-GB").split(/\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row, i) => {
        row.hidden = !words.every((word) => texts[i].includes(word));
        shown += row.hidden ? 0 : 1;
      });
      said.textContent = words.length ? `${whole(shown)} of ${whole(rows.length)} rows shown` : "";
    });
    box.append(label, input, said);
    region.before(box);
  };

  all(".explorer").forEach((root) => new Explorer(root));
  all("table.sortable").forEach((table) => { sortable(table); filterable(table); });
  // Only what scrolls needs a stop of the tab key.
  const regions = all(".wide, .chart");
  const stops = () => regions.forEach((region) => { region.tabIndex = region.scrollWidth > region.clientWidth ? 0 : -1; });
  stops();
  addEventListener("resize", stops);
  all("details").forEach((part) => part.addEventListener("toggle", stops));
  if (location.hash.includes("=")) {
    const first = document.getElementById(`${location.hash.slice(1).split(".")[0]}-explore`);
    if (first) first.scrollIntoView();
  }
})();
