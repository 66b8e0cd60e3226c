(function () {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  document.getElementById("theme").addEventListener("click", () => {
    const now = root.dataset.theme || (dark.matches ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
  });

  const table = document.getElementById("runs");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const words = document.getElementById("filter-words");
  const size = document.getElementById("filter-size");
  const shown = document.getElementById("shown");

  // words as a person types them: "75 %" is one word, and each must begin a word of the row
  function split(text) {
    return text.toLowerCase().replace(/\s+%/g, "%").split(/[\s_]+/).filter(Boolean);
  }

  const contents = new Map(rows.map((row) => [row, [...row.cells].flatMap((cell) => split(cell.textContent))]));

  function filter() {
    const wanted = split(words.value);
    let n = 0;
    for (const row of rows) {
      const fits = wanted.every((word) => contents.get(row).some((one) => one.startsWith(word)));
      row.hidden = !(fits && (!size.value || row.dataset.size === size.value));
      n += !row.hidden;
    }
    shown.textContent = n + " of " + rows.length + " runs";
  }

  function sort(head) {
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = (row) => row.cells[head.cellIndex].dataset.sort || "";
    const numeric = rows.every((row) => !isNaN(value(row)));
    rows.sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (!x || !y) return (x ? 0 : 1) - (y ? 0 : 1);
      return (up ? 1 : -1) * (numeric ? x - y : x.localeCompare(y));
    });
    body.append(...rows);
  }

  words.addEventListener("input", filter);
  size.addEventListener("change", filter);
  for (const head of table.tHead.rows[0].cells) {
    const button = head.querySelector("button");
    if (button) button.addEventListener("click", () => sort(head));
  }
  filter();
})();
