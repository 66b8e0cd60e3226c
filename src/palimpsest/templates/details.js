(function () {
  const source = document.getElementById("details");
  if (!source) return;
  const all = JSON.parse(source.textContent);
  const dialog = document.getElementById("run");
  const place = document.getElementById("run-figures");
  const SVG = "http://www.w3.org/2000/svg";
  const W = 420, H = 250, LEFT = 52, RIGHT = 12, TOP = 10, BOTTOM = 40;

  function add(parent, name, values, text) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(values)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return parent.appendChild(made);
  }

  function panel(title, label) {
    const figure = document.createElement("figure");
    const caption = figure.appendChild(document.createElement("figcaption"));
    caption.appendChild(document.createElement("b")).textContent = title;
    const svg = add(figure, "svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": label });
    place.append(figure);
    return svg;
  }

  // evenly spaced numbers stand in the page as {from, by, n}
  function unpacked(content) {
    const whole = (value) => value && value.n ? Array.from({ length: value.n }, (_, i) => value.from + i * value.by) : value;
    return Object.fromEntries(Object.entries(content).map(([name, value]) => [name, whole(value)]));
  }

  function known(values) {
    return values.filter((value) => value !== null);
  }

  function scale(values, from, to) {
    let low = Math.min(...values), high = Math.max(...values);
    if (low === high) [low, high] = low > 0 ? [0, 2 * low] : [low - 0.5, low + 0.5];
    const at = (value) => from + ((value - low) / (high - low)) * (to - from);
    return { at, low, high };
  }

  function number(value) {
    const size = Math.abs(value);
    return value === 0 || (size >= 0.01 && size < 1e5) ? String(+value.toPrecision(3)) : value.toExponential(1);
  }

  function frame(svg, x, y, labels) {
    add(svg, "path", { d: `M${LEFT} ${TOP}V${H - BOTTOM}H${W - RIGHT}`, class: "axis" });
    for (const part of [0, 0.5, 1]) {
      const across = Math.round(x.low + part * (x.high - x.low)), along = y.low + part * (y.high - y.low);
      add(svg, "text", { x: x.at(across), y: H - BOTTOM + 15, "text-anchor": "middle" }, number(across));
      add(svg, "text", { x: LEFT - 6, y: y.at(along) + 4, "text-anchor": "end" }, number(along));
    }
    add(svg, "text", { x: (LEFT + W - RIGHT) / 2, y: H - 6, "text-anchor": "middle" }, labels.x);
    add(svg, "text", { x: LEFT + 6, y: TOP + 8 }, labels.y);
  }

  function chart(title, lines, labels) {
    const shown = lines.filter((line) => known(line.y).length > 0);
    if (!shown.length) return;
    const svg = panel(title, `${title}: ${shown.map((line) => line.name).join(", ")}`);
    const x = scale(shown.flatMap((line) => line.x), LEFT, W - RIGHT);
    const y = scale(shown.flatMap((line) => known(line.y)), H - BOTTOM, TOP + 14);
    frame(svg, x, y, labels);
    shown.forEach((line, index) => {
      const points = line.x.map((at, i) => [at, line.y[i]]).filter((point) => point[1] !== null);
      const style = { points: points.map((p) => `${x.at(p[0])},${y.at(p[1])}`).join(" "), class: `line k${index % 3}` };
      if (line.strength) style.opacity = line.strength;
      add(svg, "polyline", style);
    });
    if (labels.key !== false) key(svg, shown);
  }

  function key(svg, lines) {
    lines.forEach((line, index) => {
      const x = W - 108 * (lines.length - index), y = TOP + 8;
      add(svg, "path", { d: `M${x} ${y - 4}h18`, class: `line k${index % 3}` });
      add(svg, "text", { x: x + 22, y }, line.name);
    });
  }

  function heat(recall) {
    const change = recall.change_millinats.map((row) => row.map((value) => value === null ? null : value / 1000));
    const largest = Math.max(...known(change.flat()).map(Math.abs), 1e-6);
    const title = "Recall: change of each piece's loss against the base, nats per token" + part(recall.every, "piece");
    const svg = panel(title, `${title}, ${recall.step.length} checkpoints, ${recall.piece.length} pieces`);
    const width = (W - LEFT - RIGHT) / recall.piece.length, height = (H - TOP - BOTTOM) / recall.step.length;
    change.forEach((row, c) => {
      row.forEach((value, b) => {
        if (value === null) return;
        add(svg, "rect", {
          x: LEFT + b * width, y: TOP + c * height, width: width + 0.3, height,
          class: value < 0 ? "kept" : "lost", opacity: Math.abs(value) / largest,
        });
      });
      add(svg, "text", { x: LEFT - 6, y: TOP + (c + 0.5) * height + 4, "text-anchor": "end" }, recall.step[c]);
    });
    const words = [
      "rows: step of the checkpoint; columns: pieces in training order",
      `blue kept, orange lost; full colour: ${number(largest)} nats`,
    ];
    words.forEach((line, index) => (
      add(svg, "text", { x: (LEFT + W - RIGHT) / 2, y: H - 24 + 16 * index, "text-anchor": "middle" }, line)
    ));
  }

  function layers(drift) {
    const last = drift.step.length - 1;
    const lines = drift.mad.map((row, c) => (
      { name: `step ${drift.step[c]}`, x: drift.layer, y: row, strength: 0.2 + 0.8 * (c + 1) / (last + 1) }
    )).filter((line, c) => drift.step[c] > 0);
    chart("Mean absolute drift by layer; later checkpoints stronger", lines, { x: "layer (−1: embedding)", y: "MAD", key: false });
  }

  function part(every, what) {
    return every > 1 ? ` (one ${what} in ${every})` : "";
  }

  function open(run) {
    const one = Object.fromEntries(Object.entries(all[run]).map(([name, value]) => [name, unpacked(value)]));
    document.getElementById("run-name").textContent = run;
    place.replaceChildren();
    const steps = one.steps, original = one.original;
    if (steps.step) {
      const some = part(steps.every, "step");
      chart("Loss of each batch before its step" + some, [
        { name: "new text", x: steps.step, y: steps.loss_new_nats },
        { name: "replayed text", x: steps.step, y: steps.loss_replay_nats },
      ], { x: "step", y: "nats per token" });
      chart("Learning rate" + some, [{ name: "η", x: steps.step, y: steps.learning_rate }], { x: "step", y: "η", key: false });
      if (steps.decrease_achieved_percent) {
        chart("Decrease of the loss in one step" + some, [
          { name: "achieved", x: steps.step, y: steps.decrease_achieved_percent },
          { name: "asked", x: steps.step, y: steps.decrease_asked_percent || [] },
        ], { x: "step", y: "% of the loss" });
      }
    }
    if (original.step.length > 1) {
      chart("Loss on unseen original text", [{ name: "original", x: original.step, y: original.loss_nats }],
        { x: "step", y: "nats per token", key: false });
    }
    if (one.recall.step) heat(one.recall);
    if (one.layers.step) layers(one.layers);
    dialog.showModal();
  }

  document.getElementById("runs").addEventListener("click", (event) => {
    const button = event.target.closest("button.run");
    if (button) open(button.textContent);
  });
  document.getElementById("run-close").addEventListener("click", () => dialog.close());
})();
