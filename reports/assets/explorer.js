// The list of an explorer: columns of all samples, which of them are shown and in what order, and a
// page of fifty. Every text that came from data or a model goes in by textContent. What is loaded
// comes as scripts of this folder that call `explorer`, for a page that is a file cannot fetch.
"use strict";
(() => {
  const PAGE = 50;
  const KEPT = 400; // files of entries that stay in memory
  const STATUS = ["scored", "missing", "failed", "invalid"];

  // ---------------------------------------------------------------- what scripts bring

  const home = document.getElementById("explorer");
  const runs = new Map(); // key -> its columns
  const tags = new Map(); // key -> a column for each tag
  const entries = new Map(); // "asked/key/7" -> entries
  const columns = new Map(); // "key/predictions" -> numbers
  const extras = new Map(); // "key/12" -> where the model looked, what it ranked

  const bytes = (text, bits) => {
    const raw = atob(text);
    const whole = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i += 1) whole[i] = raw.charCodeAt(i);
    if (bits === 8) return whole;
    const half = new Uint16Array(whole.length / 2); // little-endian, whatever this machine is
    for (let i = 0; i < half.length; i += 1) half[i] = whole[2 * i] | (whole[2 * i + 1] << 8);
    return half;
  };
  const unpack = (column) => column && { ...column, codes: bytes(column.codes, column.bits) };

  const explorer = {
    run(key, index) {
      runs.set(key, {
        ...index,
        key,
        score: unpack(index.score),
        status: unpack(index.status),
        tags: tags.get(key) || [], // of a run shown beside, none are needed
      });
      if (key === home.dataset.key) start(runs.get(key));
    },
    tags(key, list) { tags.set(key, list.map(unpack)); },
    asked(key, number, list) { keep(`asked/${key}/${number}`, list); },
    said(key, number, list) { keep(`said/${key}/${number}`, list); },
    column(key, name, column) { columns.set(`${key}/${name}`, unpack(column)); },
    more(key, place, more) { extras.set(`${key}/${place}`, more); },
  };
  window.explorer = explorer;

  const keep = (name, list) => {
    entries.set(name, list);
    if (entries.size > KEPT) entries.delete(entries.keys().next().value);
  };

  const loading = new Map();
  const load = (source) => {
    if (!loading.has(source)) {
      loading.set(source, new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = source;
        script.onload = () => { script.remove(); loading.delete(source); resolve(); };
        script.onerror = () => {
          script.remove();
          loading.delete(source);
          reject(new Error(`${source} cannot be read`));
        };
        document.head.append(script);
      }));
    }
    return loading.get(source);
  };

  // the last file that starts at or before a place
  const fileOf = (starts, place) => {
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (starts[middle] <= place) low = middle; else high = middle - 1;
    }
    return low;
  };
  const entry = async (kind, key, at, starts, place) => {
    const file = fileOf(starts, place);
    const name = `${kind}/${key}/${file}`;
    if (!entries.has(name)) await load(`${at}${file}.js`);
    return entries.get(name)[place - starts[file]];
  };
  explorer.asked_of = (run, place) => {
    const parts = run.asked.at.split("/").filter(Boolean);
    return entry("asked", parts[parts.length - 1], run.asked.at, run.asked.starts, place);
  };
  explorer.said_of = (run, place) =>
    entry("said", run.key, `${run.at || ""}data/said/`, run.said.starts, place);
  explorer.more_of = async (run, place) => {
    if (run.more !== "all" && !run.more.includes(place)) return null;
    const name = `${run.key}/${place}`;
    if (!extras.has(name)) await load(`${run.at || ""}data/more/${place}.js`);
    return extras.get(name);
  };
  const columnOf = async (run, name) => {
    if (!columns.has(`${run.key}/${name}`)) await load(`${run.at || ""}data/${name}.js`);
    return columns.get(`${run.key}/${name}`);
  };
  const otherRun = async (other) => {
    if (!runs.has(other.key)) await load(`${other.at}data/index.js`);
    const run = runs.get(other.key);
    run.at = other.at;
    return run;
  };

  // ---------------------------------------------------------------- parts of pages

  // make("p", {class: "x", text: "y"}, children...): text is never markup
  const make = (name, about = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(about)) {
      if (value === undefined || value === null || value === false) continue;
      if (key === "text") made.textContent = value;
      else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else made.setAttribute(key, value === true ? "" : value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  };
  const counted = (number) => number.toLocaleString("en");
  const spaced = (name) => name.replaceAll("_", " ");
  const shown = (value, metric) => {
    if (value === null || value === undefined || Number.isNaN(value)) return "n/a";
    return metric.percent ? (100 * value).toFixed(1) : value.toLocaleString("en", {
      maximumFractionDigits: 1,
    });
  };
  const plain = (metric) => metric.best !== null && metric.worst !== null && metric.percent
    && Math.abs(metric.best - metric.worst) === 1;
  // how a sample did: a word, and the sign that stands for it
  const verdict = (value, metric) => {
    if (value === null || value === undefined || !plain(metric)) return null;
    if (value === metric.best) return ["right", "✓"];
    return value === metric.worst ? ["wrong", "✗"] : ["partly right", "≈"];
  };
  Object.assign(explorer, { make, counted, spaced, shown, verdict, load });

  // ---------------------------------------------------------------- which samples, in what order

  let run = null;
  let state = {};
  let order = []; // places of the samples that are shown

  const DEFAULTS = { sort: "worst", metric: "0", score: "", status: "", with: "", differ: "", page: "1" };

  const readState = () => {
    const given = new URLSearchParams(location.hash.slice(1));
    const read = { ...DEFAULTS, tags: {}, open: null };
    for (const [key, value] of given) {
      if (key.startsWith("tag.")) read.tags[key.slice(4)] = value;
      else if (key in read) read[key] = value;
    }
    return read;
  };
  const writeState = (changes) => {
    const next = { ...state, ...changes };
    const words = new URLSearchParams();
    for (const key of Object.keys(DEFAULTS)) if (next[key] !== DEFAULTS[key]) words.set(key, next[key]);
    for (const [tag, value] of Object.entries(next.tags)) if (value) words.set(`tag.${tag}`, value);
    if (next.open !== null) words.set("open", next.open);
    const hash = words.toString();
    if (hash === location.hash.slice(1)) return;
    location.hash = hash;
  };

  const numbersOf = (column, count) => {
    const values = new Float64Array(count).fill(NaN);
    if (!column) return values;
    const step = column.values ? 0 : (column.high - column.low) / 65533;
    for (let i = 0; i < count; i += 1) {
      const code = column.codes[i];
      if (code) values[i] = column.values ? column.values[code - 1] : column.low + (code - 1) * step;
    }
    return values;
  };
  const scoresOf = async (one, number) => {
    one.values ||= {};
    if (!one.values[number]) {
      const column = number === 0 ? one.score : await columnOf(one, `score-${number}`);
      one.values[number] = numbersOf(column, one.samples);
    }
    return one.values[number];
  };

  const KINDS = ["right", "partly right", "wrong"];
  const chosen = async () => {
    const metric = run.metrics[Number(state.metric)];
    const values = metric ? await scoresOf(run, Number(state.metric)) : null;
    const tests = [];
    for (const column of run.tags) {
      const wanted = state.tags[column.name];
      if (!wanted) continue;
      const code = wanted === "-" ? 0 : column.values.indexOf(wanted.slice(1)) + 1;
      tests.push((place) => column.codes[place] === code);
    }
    if (state.status) {
      const code = STATUS.indexOf(state.status);
      tests.push((place) => (run.status ? run.status.codes[place] : 0) === code);
    }
    if (state.score && metric && plain(metric)) {
      tests.push((place) => (verdict(values[place], metric) || [])[0] === state.score);
    }
    const other = run.others.find((one) => one.key === state.with);
    let theirs = null;
    if (other) {
      const second = await otherRun(other);
      if (second.ids !== run.ids) throw new Error(`${other.name} has other samples`);
      const same = metric ? second.metrics.findIndex((one) => one.name === metric.name) : -1;
      theirs = same >= 0 ? await scoresOf(second, same) : null;
      if (state.differ === "predictions") {
        const [a, b] = [await columnOf(run, "predictions"), await columnOf(second, "predictions")];
        const of = (column, place) => (column ? column.codes[place] : 0);
        tests.push((place) => of(a, place) !== of(b, place)
          || (theirs !== null && values[place] !== theirs[place]));
      } else if (state.differ && theirs) {
        const way = (metric.higher ? 1 : -1) * (state.differ === "better" ? 1 : -1);
        tests.push((place) => (state.differ === "scores"
          ? Math.abs(values[place] - theirs[place]) > 1e-9
          : way * (values[place] - theirs[place]) > 1e-9));
      }
    }
    const found = [];
    for (let place = 0; place < run.samples; place += 1) {
      if (tests.every((test) => test(place))) found.push(place);
    }
    if (state.sort !== "data" && values) {
      const sign = (metric.higher ? 1 : -1) * (state.sort === "best" ? -1 : 1);
      const keys = new Float64Array(run.samples);
      const apart = state.sort === "apart" && theirs;
      for (const place of found) {
        const key = apart ? -Math.abs(values[place] - theirs[place]) : sign * values[place];
        keys[place] = Number.isNaN(key) ? Infinity : key;
      }
      found.sort((a, b) => (keys[a] === keys[b] ? a - b : keys[a] - keys[b]));
    }
    return found;
  };

  // ---------------------------------------------------------------- the form

  let fields = 0;
  const field = (label, name, options, value) => {
    fields += 1;
    const id = `field-${fields}`;
    return make(
      "div", { class: "field" }, make("label", { for: id, text: label }),
      make("select", { name, id }, ...options.map(([key, text]) => make(
        "option", { value: key, text, selected: key === value },
      ))),
    );
  };
  const form = document.getElementById("tools");
  // "" is any, "-" none, "=x" the value x, whatever it is
  const anyOf = (values) => [["", "any"], ...values.map((value) => [`=${value}`, value])];

  const drawForm = () => {
    const metric = run.metrics[Number(state.metric)];
    const all = [];
    const sorts = [];
    if (metric) sorts.push(["worst", "worst first"], ["best", "best first"]);
    if (metric && state.with) sorts.push(["apart", "farthest apart first"]);
    sorts.push(["data", "as in the data"]);
    all.push(field("Order", "sort", sorts, metric ? state.sort : "data"));
    if (run.metrics.length > 1) {
      const names = run.metrics.map((one, number) => [String(number), one.name]);
      all.push(field("Score", "metric", names, state.metric));
    }
    if (metric && plain(metric)) {
      all.push(field("Result", "score", [["", "any"], ...KINDS.map((kind) => [kind, kind])], state.score));
    }
    if (run.status) {
      const there = STATUS.filter((_, code) => run.status.codes.includes(code));
      const counts = there.map((name) => {
        const code = STATUS.indexOf(name);
        return [name, `${name} (${counted(run.status.codes.reduce((n, c) => n + (c === code), 0))})`];
      });
      all.push(field("Coverage", "status", [["", "any"], ...counts], state.status));
    }
    for (const column of run.tags) {
      if (column.values.length < 2 && !column.codes.includes(0)) continue;
      const options = anyOf(column.values);
      if (column.codes.includes(0)) options.push(["-", "(none)"]);
      all.push(field(
        spaced(column.name), `tag.${column.name}`, options, state.tags[column.name] ?? "",
      ));
    }
    if (run.others.length) {
      const names = run.others.map((one) => [one.key, one.name]);
      all.push(field("Compare with", "with", [["", "no other run"], ...names], state.with));
    }
    if (state.with) {
      const ways = [["", "anywhere"], ["predictions", "predictions differ"]];
      if (metric) {
        ways.push(["scores", "scores differ"], ["better", "this one is better"], ["worse", "the other is better"]);
      }
      all.push(field("Show where", "differ", ways, state.differ));
    }
    all.push(make("button", { type: "reset", text: "Reset" }));
    const focused = form.contains(document.activeElement) ? document.activeElement.name : "";
    form.replaceChildren(...all);
    form.hidden = false;
    if (focused && form.elements[focused]) form.elements[focused].focus();
  };
  form.addEventListener("change", (event) => {
    const { name, value } = event.target;
    const changes = { page: "1", open: null };
    if (name.startsWith("tag.")) {
      const tags = { ...state.tags };
      if (value === "") delete tags[name.slice(4)]; else tags[name.slice(4)] = value;
      changes.tags = tags;
    } else changes[name] = value;
    if (name === "with") {
      changes.differ = value === "" ? "" : "predictions";
      if (state.sort === "apart") changes.sort = DEFAULTS.sort;
    }
    if (name === "metric" && !plain(run.metrics[Number(value)])) changes.score = "";
    writeState(changes);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    writeState({ ...DEFAULTS, tags: {}, open: null });
  });

  // ---------------------------------------------------------------- the list

  const list = document.getElementById("list");
  const status = document.getElementById("count");
  const pages = document.getElementById("pages");
  const legend = document.getElementById("legend");
  let turn = 0; // a page that comes late does not replace a newer one

  // the run that this one is shown beside, if it is
  const besides = async () => {
    const other = run.others.find((one) => one.key === state.with);
    return other ? { ...(await otherRun(other)), name: other.name } : null;
  };

  const drawList = async () => {
    turn += 1;
    const mine = turn;
    home.setAttribute("aria-busy", "true");
    order = await chosen();
    const last = Math.max(1, Math.ceil(order.length / PAGE));
    const page = Math.min(Math.max(1, Number.parseInt(state.page, 10) || 1), last);
    const places = order.slice((page - 1) * PAGE, page * PAGE);
    const second = await besides();
    const metric = Number(state.metric);
    const cards = await Promise.all(places.map(async (place) => explorer.card(
      run, place, await explorer.asked_of(run, place), await explorer.said_of(run, place), metric,
      second && [second, await explorer.said_of(second, place)],
    )));
    if (mine !== turn) return;
    list.start = (page - 1) * PAGE + 1;
    list.replaceChildren(...cards);
    legend.hidden = !list.querySelector(".overlay, .moments");
    const from = places.length ? (page - 1) * PAGE + 1 : 0;
    status.textContent = order.length
      ? `${counted(from)} to ${counted(from + places.length - 1)} of ${counted(order.length)} samples`
        + (order.length < run.samples ? ` (${counted(run.samples)} in all)` : "")
      : `None of ${counted(run.samples)} samples is such a one.`;
    drawPages(page, last);
    home.setAttribute("aria-busy", "false");
    home.dataset.ready = `${page}`;
  };

  const drawPages = (page, last) => {
    const to = (target) => () => {
      writeState({ page: String(target), open: null });
      home.scrollIntoView();
    };
    const button = (text, target, off) => make("button", { type: "button", text, disabled: off, onclick: to(target) });
    const number = make("input", {
      type: "number", min: 1, max: last, value: page, "aria-label": `Page, of ${last}`,
      onchange: (event) => to(Number.parseInt(event.target.value, 10) || 1)(),
    });
    const had = pages.contains(document.activeElement) ? document.activeElement.textContent : null;
    pages.replaceChildren(
      button("First", 1, page === 1), button("Previous", page - 1, page === 1),
      make("span", { class: "where" }, number, ` of ${counted(last)}`),
      button("Next", page + 1, page === last), button("Last", last, page === last),
    );
    pages.hidden = last === 1;
    if (had !== null) {
      const same = [...pages.querySelectorAll("button")].find((one) => one.textContent === had);
      if (same && !same.disabled) same.focus(); else if (had) list.querySelector("button")?.focus();
    }
  };

  const render = async () => {
    const before = state;
    state = readState();
    const same = (one, two) => JSON.stringify({ ...one, open: 0 }) === JSON.stringify({ ...two, open: 0 });
    try {
      if (!before.tags || !same(before, state)) {
        drawForm();
        await drawList();
      }
      await explorer.open(run, state.open === null ? null : Number(state.open), order, await besides());
      home.dataset.view = location.hash.slice(1);
    } catch (error) {
      status.textContent = `This cannot be shown: ${error.message}`;
      home.setAttribute("aria-busy", "false");
      home.dataset.ready = "0";
    }
  };
  explorer.show = (place) => writeState({ open: place });
  explorer.place_of = (card) => Number(card.dataset.place);

  const start = (index) => {
    run = index;
    window.addEventListener("hashchange", render);
    render();
  };
})();
