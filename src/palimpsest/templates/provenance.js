// Called by ../provenance.js, which lies beside the published page: what differs between machines.
function showProvenance(record) {
  const place = document.getElementById("provenance");
  const known = (value) => value !== null && value !== undefined && value !== "";
  const amount = (value) => known(value) ? Number(value.toPrecision(3)).toLocaleString("en", { notation: "compact", maximumSignificantDigits: 3 }) : "–";
  const power = (value) => known(value) ? value.toExponential(2).replace("e+", "e") : "–";
  const time = (seconds) => {
    if (!known(seconds)) return "–";
    if (seconds < 100) return seconds.toFixed(1) + " s";
    return seconds < 7200 ? (seconds / 60).toFixed(1) + " min" : (seconds / 3600).toFixed(1) + " h";
  };

  function add(parent, name, text) {
    const made = parent.appendChild(document.createElement(name));
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function table(label, header, rows) {
    const frame = add(place, "div");
    frame.className = "scroll";
    for (const [name, value] of [["tabindex", "0"], ["role", "region"], ["aria-label", label]]) frame.setAttribute(name, value);
    const made = add(frame, "table");
    const head = add(add(made, "thead"), "tr");
    for (const name of header) add(head, "th", name).scope = "col";
    const body = add(made, "tbody");
    for (const row of rows) {
      const line = add(body, "tr");
      row.forEach((text, i) => { const cell = add(line, i ? "td" : "th", text); if (!i) cell.scope = "row"; });
    }
  }

  const total = record.total;
  place.replaceChildren();
  if (record.page !== place.dataset.page) {
    add(place, "p", "results/provenance.js beside this page belongs to another report: where, with what and at what cost this one was built is not known here.").className = "absent";
    return;
  }
  if (total.n_recorded < total.n_artifacts) {
    add(place, "p", `Records of ${total.n_recorded} of ${total.n_artifacts} artifacts are in this folder; the others came from elsewhere.`);
  }
  if (!total.n_recorded) return;
  table("versions and machines", ["artifacts", "commit", "Python", "versions", "machine"], record.origins.map((one) => (
    [String(one.n_artifacts), ...[one.commit, one.python, one.versions, one.hardware].map((text) => text || "not recorded")]
  )));
  add(place, "p", `All of it took ${time(record.busy_seconds)} on the clock, while at least one artifact was being built, `
    + `and ${time(total.cpu_seconds)} of processors. Left out: the start of each process, attempts that were cut off. `
    + "Tokens are counted where a model was trained and in recall; operations are 6 per weight (without embeddings) and token trained on. One row per artifact: results/cost.csv.");
  table("cost by stage", ["stage", "artifacts", "processor time", "sum of wall times", "tokens", "operations"],
    [...record.stages, total].map((row) => (
      [row.stage, String(row.n_artifacts), time(row.cpu_seconds), time(row.wall_seconds), amount(row.n_tokens), power(row.flops)]
    )));
}
