// One sample of an explorer: as a card of the list, and opened, with its picture or clip, boxes,
// moments, where the model looked word by word, and what it ranked. Every text that came from data
// or a model goes in by textContent.
"use strict";
(() => {
  const { explorer } = window;
  const { make, counted, spaced, shown, verdict } = explorer;
  const home = document.getElementById("explorer");
  const dialog = document.getElementById("sample");
  const SVG = "http://www.w3.org/2000/svg";

  const draw = (name, about = {}, ...children) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(about)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const percent = (share) => `${Math.round(100 * share)}%`;
  const seconds = (time) => `${Number(time.toFixed(2))} s`;

  // ---------------------------------------------------------------- texts

  // [what, text, characters left out]: its own direction, whatever the page's is
  const line = ([what, text, cut], about = {}) => make(
    "div", { class: "line", ...about },
    make("dt", {}, make("bdi", { text: what })),
    make(
      "dd", {}, make("bdi", { class: "said", dir: "auto", text }),
      cut ? make("span", { class: "muted", text: ` … ${counted(cut)} characters left out` }) : null,
    ),
  );
  const lines = (given, most) => {
    const some = (given || []).slice(0, most);
    const block = make("dl", { class: "lines" }, ...some.map((one) => line(one)));
    const left = (given || []).length - some.length;
    if (left > 0) block.append(make("div", { class: "line muted" }, make("dt"), make("dd", { text: `and ${left} more` })));
    return block;
  };

  // ---------------------------------------------------------------- pictures and clips

  const overlay = (width, height, kind) => draw("svg", {
    viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", class: kind, "aria-hidden": "true",
  });
  const boxes = (svg, given, kind) => {
    for (const [, x1, y1, x2, y2] of given || []) {
      const at = { x: x1, y: y1, width: Math.max(0, x2 - x1), height: Math.max(0, y2 - y1) };
      svg.append(draw("rect", { ...at, class: kind }));
    }
  };
  const labels = (frame, given, kind, width, height) => {
    for (const [what, x1, y1, x2, y2] of given || []) {
      const label = make("span", { class: `label ${kind}`, text: what });
      // the predicted one's below its box, where the other's stands above
      label.style.left = percent(Math.min(0.9, Math.max(0, x1 / width)));
      const below = kind === "predicted";
      label.style.top = percent(Math.min(1, Math.max(0, (below ? y2 : y1) / height)));
      label.classList.toggle("below", below ? y2 < 0.92 * height : y1 < 0.08 * height);
      frame.append(label);
    }
  };

  const lacking = (said) => make("div", { class: "lacking" }, make("span", {
    text: said.drawn ? "cannot be read" : "no thumbnail",
    title: said.drawn ? said.drawn.lost : null,
  }));
  const image = (drawn, alt, lazy) => make("img", {
    src: `${home.dataset.root}visuals/${drawn.file}`,
    alt,
    loading: lazy ? "lazy" : null,
    decoding: "async",
    width: drawn.width * (drawn.frames || 1),
    height: drawn.height,
  });

  const picture = (asked, said, opened) => {
    const { drawn } = said;
    if (!drawn || drawn.lost) return lacking(said);
    const frame = make("div", { class: "picture" }, image(drawn, `Picture of sample ${asked.id}`, !opened));
    frame.classList.toggle("small", Math.max(drawn.width, drawn.height) <= 240);
    if (asked.boxes || said.boxes) {
      const svg = overlay(drawn.width, drawn.height, "overlay");
      boxes(svg, [...(asked.boxes || []), ...(said.boxes || [])], "halo");
      boxes(svg, asked.boxes, "asked");
      boxes(svg, said.boxes, "predicted"); // dashed: where both are, both show
      frame.append(svg);
      if (opened) {
        labels(frame, asked.boxes, "asked", drawn.width, drawn.height);
        labels(frame, said.boxes, "predicted", drawn.width, drawn.height);
      }
    }
    return frame;
  };

  const moment = ([what, start, end], kind, length) => {
    const track = make("div", { class: "track" });
    const bar = make("span", { class: `bar ${kind}` });
    const from = Math.min(1, Math.max(0, start / length));
    const to = Math.min(1, Math.max(from, end / length));
    bar.style.left = `${100 * from}%`;
    bar.style.width = `${100 * (to - from)}%`;
    const name = make("span", { class: "name" }, what,
      make("span", { class: "time", text: `  ${seconds(start)} to ${seconds(end)}` }));
    if (from > 0.5) name.style.right = `${100 * (1 - from)}%`; else name.style.left = `${100 * to}%`;
    track.append(bar, name);
    return track;
  };
  const ruler = (length) => {
    const axis = make("div", { class: "axis", "aria-hidden": "true" });
    for (let part = 0; part <= 4; part += 1) {
      const mark = make("span", { text: seconds((length * part) / 4) });
      mark.style.left = `${25 * part}%`;
      axis.append(mark);
    }
    return axis;
  };
  const clip = (asked, said, opened) => {
    const { drawn } = said;
    const length = asked.seconds;
    const frames = drawn && !drawn.lost
      ? make("div", { class: "frames-of" }, image(drawn, `${drawn.frames} frames of the clip of sample ${asked.id}`, !opened))
      : lacking(said);
    const strip = make("div", { class: "strip" }, frames);
    const right = (asked.moments || []).slice(0, opened ? 12 : 1);
    const predicted = (said.moments || []).slice(0, opened ? 12 : 1);
    if (right.length || predicted.length) {
      strip.append(make(
        "div", { class: "moments" },
        ...right.map((one) => moment(one, "asked", length)),
        ...predicted.map((one) => moment(one, "predicted", length)),
      ));
    }
    if (opened) strip.append(ruler(length));
    return make("div", {
      class: "clip", tabindex: opened ? "0" : null, role: opened ? "group" : null,
      "aria-label": opened ? "The clip over time" : null,
    }, strip);
  };
  const visual = (asked, said, opened) => (
    asked.seconds === undefined ? picture(asked, said, opened) : clip(asked, said, opened)
  );

  // ---------------------------------------------------------------- cards

  const STATES = ["", "missing", "failed", "invalid"];
  const scoreBadge = (run, said, metric) => {
    const about = run.metrics[metric];
    if (!about) return null;
    const value = (said.scores || [])[metric];
    const found = verdict(value, about);
    const kind = found ? { right: "good", wrong: "bad" }[found[0]] || "" : "";
    return make(
      "p", { class: `score ${kind}` },
      found ? make("span", { class: "sign", "aria-hidden": "true", text: found[1] }) : null,
      make("strong", { text: shown(value, about) }),
      make("span", { class: "sr-only", text: ` ${about.name}${found ? `, ${found[0]}` : ""}` }),
    );
  };
  const predicted = (run, place, said, name) => {
    const state = STATES[run.status ? run.status.codes[place] : 0];
    const block = make("div", { class: "prediction" });
    if (name) block.append(make("p", { class: "by" }, make("bdi", { text: name })));
    if (state) {
      block.append(make(
        "p", { class: "state" }, make("span", { class: "badge warn", text: state }),
        said.reason ? " " : null, said.reason ? make("bdi", { class: "said", text: said.reason }) : null,
      ));
    }
    if (said.lines) block.append(lines(said.lines, 4));
    if (state === "invalid" && said.logged) block.append(lines([["logged", said.logged]], 1));
    return block;
  };

  explorer.card = (run, place, asked, said, metric, second) => {
    const title = (asked.lines || [])[0] || ["sample", asked.id];
    const all = (asked.lines || []).slice(1);
    const right = all.filter(([what]) => what.endsWith("(right)"));
    const rest = right.length ? right : all;
    const open = make("button", { type: "button", class: "open", onclick: () => explorer.show(place) },
      make("span", { class: "sr-only", text: `Open ${asked.id}: ` }),
      make("bdi", { class: "said", dir: "auto", text: title[1] }));
    return make(
      "li", { class: asked.seconds === undefined ? "card" : "card wide-visual", "data-place": place },
      make("div", { class: "seen" }, visual(asked, said, false)),
      make(
        "div", { class: "told" },
        make("h2", { class: "asked-line" }, open),
        rest.length ? lines(rest, 2) : null,
        predicted(run, place, said, second ? run.model : ""),
        second ? predicted(second[0], place, second[1], second[0].name) : null,
        make("p", { class: "id small muted" }, make("bdi", { class: "mono", text: asked.id })),
      ),
      make("div", { class: "scores" }, named(scoreBadge(run, said, metric), second && run.model),
        second ? otherScore(run, second, metric) : null),
    );
  };
  const named = (badge, name) => {
    if (badge && name) badge.prepend(make("span", { class: "by" }, make("bdi", { text: name })));
    return badge;
  };
  const otherScore = (run, [other, said], metric) => {
    const name = (run.metrics[metric] || {}).name;
    const same = other.metrics.findIndex((one) => one.name === name);
    return same < 0 ? null : named(scoreBadge(other, said, same), other.name);
  };

  // ---------------------------------------------------------------- where the model looked

  // Words as a toolbar: one of them is in the order of tabs, arrows move on, and whatever word has
  // the focus is looked at.
  const wordBar = (words, name, look) => {
    const buttons = words.map((word, number) => make("button", {
      type: "button", class: /^\[[A-Z]+\]$/.test(word) ? "word special" : "word", tabindex: number ? "-1" : "0",
      "aria-pressed": "false", onclick: () => choose(number), onfocus: () => choose(number),
    }, make("bdi", { text: word })));
    const choose = (number) => {
      buttons.forEach((button, other) => {
        button.setAttribute("aria-pressed", String(other === number));
        button.tabIndex = other === number ? 0 : -1;
      });
      look(number);
    };
    const bar = make("div", { class: "words", role: "toolbar", "aria-label": name }, ...buttons);
    bar.addEventListener("keydown", (event) => {
      const at = buttons.indexOf(document.activeElement);
      const steps = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: buttons.length - 1 };
      if (at < 0 || !(event.key in steps)) return;
      event.preventDefault();
      buttons[Math.min(buttons.length - 1, Math.max(0, steps[event.key]))].focus();
    });
    return [bar, choose];
  };

  // the darker a cell, the less it was looked at
  const overGrid = (frame, [rows, across], alphas) => {
    const svg = overlay(across, rows, "attention");
    const most = Math.max(...alphas, 1e-9);
    alphas.forEach((alpha, cell) => svg.append(draw("rect", {
      x: cell % across, y: Math.floor(cell / across), width: 1, height: 1,
      "fill-opacity": (0.8 * (1 - alpha / most)).toFixed(3), class: "veil",
    })));
    frame.querySelector(".attention")?.remove();
    frame.querySelector("img").after(svg);
  };
  const overRegions = (frame, given, weights, { width, height }) => {
    frame.querySelectorAll(".attention, .weight").forEach((one) => one.remove());
    const svg = overlay(width, height, "attention");
    const most = Math.max(...weights.slice(1), 1e-9);
    given.forEach(([x1, y1, x2, y2], region) => {
      if (region === 0) return; // the whole picture
      const share = weights[region];
      const at = { x: x1, y: y1, width: x2 - x1, height: y2 - y1 };
      svg.append(draw("rect", { ...at, class: "region", "fill-opacity": ((0.75 * share) / most).toFixed(3) }));
      const label = make("span", { class: "weight", text: `${region}: ${percent(share)}` });
      label.style.left = percent((x1 + x2) / 2 / width);
      label.style.top = percent((y1 + y2) / 2 / height);
      frame.append(label);
    });
    frame.querySelector("img").after(svg);
  };
  const overTime = (strip, shares) => {
    strip.querySelector(".heights")?.remove();
    const most = Math.max(...shares, 1e-9);
    const bars = make("div", { class: "heights", "aria-hidden": "true" }, ...shares.map((share) => {
      const bar = make("span");
      bar.style.height = `${Math.max(2, (100 * share) / most)}%`;
      return bar;
    }));
    strip.insertBefore(bars, strip.children[1] || null);
  };
  // How much attention each part of the clip gets by the windows that it lies in, as a multiple of
  // what it would get if all windows got the same: more windows lie over the middle than the ends.
  const alongTime = (spans, weights, length, parts) => {
    const given = new Array(parts).fill(0);
    const even = new Array(parts).fill(0);
    const whole = weights.slice(1).reduce((sum, weight) => sum + weight, 0) / (weights.length - 1);
    spans.forEach(([start, end], window) => {
      if (window === 0 || end <= start) return; // the whole clip
      for (let part = 0; part < parts; part += 1) {
        const from = (length * part) / parts;
        const inside = Math.min(end, from + length / parts) - Math.max(start, from);
        if (inside <= 1e-9) continue;
        given[part] += (weights[window] * inside) / (end - start);
        even[part] += (whole * inside) / (end - start);
      }
    });
    return given.map((share, part) => (even[part] > 0 ? share / even[part] : 0));
  };

  const gridText = ([rows, across], alphas, length) => {
    const best = alphas.indexOf(Math.max(...alphas));
    const share = percent(alphas[best]);
    if (length !== undefined) {
      return `most at frame ${best + 1} of ${across}, about ${seconds(((best + 0.5) / across) * length)}: ${share}`;
    }
    return `most in row ${Math.floor(best / across) + 1} of ${rows}, column ${(best % across) + 1} of ${across}: ${share}`;
  };
  const regionText = (weights, what) => {
    const ranked = weights.map((share, region) => [share, region]).sort((a, b) => b[0] - a[0]).slice(0, 4);
    return ranked.map(([share, region]) => `${percent(share)} on ${region ? `${what} ${region}` : "the whole"}`).join(", ");
  };

  const attention = (asked, said, more, seen) => {
    const artifact = more && more.attention;
    if (!artifact) return [];
    const frame = seen.matches(".picture") ? seen : null;
    const strip = seen.querySelector(".strip");
    const tell = make("p", { class: "looked small", role: "status" });
    const parts = artifact.parts || [artifact];
    const bars = [];
    parts.forEach((part, number) => {
      const name = parts.length > 1 ? `Words of question ${number + 1}` : "Words";
      const [bar, choose] = wordBar(part.words, name, (word) => {
        for (const other of bars) {
          if (other !== bar) other.querySelectorAll("[aria-pressed=true]").forEach((one) => one.setAttribute("aria-pressed", "false"));
        }
        const weights = (part.alphas || part.weights)[word];
        let text;
        if (part.grid) {
          if (frame) overGrid(frame, part.grid, weights);
          else if (strip) overTime(strip, weights);
          text = gridText(part.grid, weights, asked.seconds);
        } else if (part.boxes) {
          if (frame) overRegions(frame, part.boxes, weights, said.drawn);
          text = regionText(weights, "region");
        } else {
          const shares = alongTime(part.spans, weights, asked.seconds, 32);
          if (strip) overTime(strip, shares);
          const best = shares.indexOf(Math.max(...shares));
          text = `most about ${seconds(((best + 0.5) / 32) * asked.seconds)}, `
            + `${shares[best].toFixed(1)} times an even share`;
        }
        tell.replaceChildren("“", make("bdi", { class: "said", text: part.words[word] }), `”: ${text}`);
      });
      if (parts.length > 1) bar.prepend(make("span", { class: "small muted which", text: `${number + 1} of ${parts.length}` }));
      bars.push(bar);
      if (number === 0 && part.words.length) {
        const first = part.words.indexOf("[MASK]"); // where an answer is read
        bar.start = () => choose(first >= 0 ? first : Math.min(part.words.length - 1, part.grid ? 0 : 1));
      }
    });
    const about = parts[0].grid
      ? "Where it looked before each word. Choose a word; the arrow keys move on."
      : `Which ${asked.seconds === undefined ? "regions" : "times"} each word attends to. Choose a word; the arrow keys move on.`;
    const block = make("section", { class: "looking", "aria-label": "Attention" },
      make("h3", { text: "Attention" }), tell, make("p", { class: "muted small", text: about }), ...bars);
    block.start = () => bars[0]?.start?.();
    return [block];
  };

  // ---------------------------------------------------------------- what was ranked

  const mark = (right) => (right ? make("span", { class: "good", text: "✓ right " }) : null);
  const rankings = (more, clips) => {
    if (!more || !more.captions) return [];
    const captions = make("ol", { class: "ranked" }, ...more.captions.map(([right, score, text]) => make(
      "li", { class: right ? "right" : null }, mark(right),
      make("bdi", { class: "said", dir: "auto", text }),
      make("span", { class: "muted small", text: ` ${score.toFixed(2)}` }),
    )));
    const found = more.visuals.map(([text, ranked]) => make(
      "div", { class: "query" },
      make("h4", {}, make("bdi", { class: "said", dir: "auto", text })),
      make("ol", { class: clips ? "found clips" : "found" }, ...ranked.map(([right, score, id, file], place) => make(
        "li", { class: right ? "right" : null },
        file
          ? make("img", { src: `${home.dataset.root}visuals/${file}`, alt: "", loading: "lazy" })
          : make("div", { class: "lacking" }, make("span", { text: "no thumbnail" })),
        make("p", { class: "small" }, `${place + 1}. `, mark(right), make("bdi", { text: id }),
          make("span", { class: "muted", text: ` ${score.toFixed(2)}` })),
      ))),
    ));
    const what = clips ? "clip" : "picture";
    return [
      make("section", { "aria-label": "Captions by score" }, make("h3", { text: `Captions it finds for this ${what}` }), captions),
      make("section", { "aria-label": "Visuals by score" }, make("h3", { text: `${what}s it finds for each caption`.replace(/^./, (c) => c.toUpperCase()) }), ...found),
    ];
  };

  // ---------------------------------------------------------------- opened

  const facts = (run, said) => {
    if (!run.metrics.length || !said.scores) return null;
    return make("dl", { class: "facts" }, ...run.metrics.map((one, number) => make(
      "div", {}, make("dt", { text: one.name }), make("dd", { text: shown(said.scores[number], one) }),
    )));
  };
  const tagsOf = (run, place) => {
    const there = run.tags.filter((column) => column.codes[place]);
    if (!there.length) return null;
    return make("p", { class: "tags" }, ...there.map((column) => make(
      "span", { class: "badge" }, `${spaced(column.name)}: `, make("bdi", { text: column.values[column.codes[place] - 1] }),
    )));
  };

  let current = null;
  explorer.open = async (run, place, order, second) => {
    if (place === null || !(place >= 0 && place < run.samples)) {
      current = null;
      if (dialog.open) dialog.close();
      return;
    }
    current = place;
    const [asked, said, more, theirs] = await Promise.all([
      explorer.asked_of(run, place), explorer.said_of(run, place), explorer.more_of(run, place),
      second && explorer.said_of(second, place),
    ]);
    if (current !== place) return;
    const at = order.indexOf(place);
    const step = (by, text) => make("button", {
      type: "button", class: by < 0 ? "before" : "after", "aria-label": text,
      disabled: at < 0 || order[at + by] === undefined, onclick: () => explorer.show(order[at + by]),
    }, by < 0 ? "← " : null, make("span", { class: "word-of", text }), by > 0 ? " →" : null);
    const seen = visual(asked, said, true);
    const looking = attention(asked, said, more, seen);
    const had = dialog.contains(document.activeElement) ? document.activeElement.className : "";
    dialog.replaceChildren(
      make(
        "div", { class: "bar" },
        make("h2", { id: "sample-title" }, make("bdi", { class: "mono", text: asked.id })),
        step(-1, "Previous"), step(1, "Next"),
        make("button", { type: "button", class: "close", text: "Close", onclick: () => explorer.show(null) }),
      ),
      make(
        "div", { class: asked.seconds === undefined ? "opened" : "opened clips" },
        make("div", { class: "seen" }, seen, ...looking),
        make(
          "div", { class: "told" },
          make("h3", { text: "In the data" }), lines(asked.lines, Infinity),
          make("h3", { text: "Predicted" }), predicted(run, place, said, second ? run.model : ""), facts(run, said),
          ...(second ? [predicted(second, place, theirs, second.name), facts(second, theirs)] : []),
          tagsOf(run, place),
          said.logged ? make("details", {}, make("summary", { text: "As it was logged" }),
            make("pre", { class: "mono said", tabindex: "0", text: said.logged })) : null,
        ),
      ),
      ...rankings(more, asked.seconds !== undefined),
    );
    if (!dialog.open) dialog.showModal();
    looking[0]?.start();
    const again = had && dialog.querySelector(`.bar .${had.split(" ")[0]}:not(:disabled)`);
    (again || dialog.querySelector(".close")).focus();
    dialog.scrollTop = 0;
  };
  dialog.addEventListener("close", () => { if (current !== null) explorer.show(null); });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) explorer.show(null); });
})();
