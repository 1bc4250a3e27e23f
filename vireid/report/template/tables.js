// Tables of a page: a click on a heading sorts by that column (again: the other way, then as it was), and long tables
// take a word that their rows must hold; what a link leads to is unfolded. Without this script a page reads the same.
(() => {
  const LONG = 15;
  const number = (cell) => {
    const found = cell.textContent.replace(/−/g, "-").match(/[-+]?\d[\d,]*(\.\d+)?/);
    return found ? parseFloat(found[0].replace(/,/g, "")) : null;
  };
  const compare = (column, text, sign) => (one, other) => {
    const [a, b] = [one.cells[column], other.cells[column]];
    if (text) return sign * a.textContent.localeCompare(b.textContent);
    const [x, y] = [number(a), number(b)];
    if (x === null || y === null) return (x === null) - (y === null); // what is not there comes last
    return sign * (x - y);
  };
  for (const table of document.querySelectorAll("figure.table table")) {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const heads = [...table.tHead.rows[0].cells];
    if (rows.length < 3) continue;
    const groups = []; // rows below a heading of their own stay there
    for (const row of rows) {
      if (row.className === "block" || !groups.length) groups.push({ head: [], rows: [] });
      groups[groups.length - 1][row.className === "block" ? "head" : "rows"].push(row);
    }
    heads.forEach((head, column) => {
      const text = head.className === "text";
      const steps = text ? ["ascending", "descending", "none"] : ["descending", "ascending", "none"];
      const sort = () => {
        const next = steps[(steps.indexOf(head.getAttribute("aria-sort")) + 1) % steps.length];
        heads.forEach((other) => other.setAttribute("aria-sort", "none"));
        head.setAttribute("aria-sort", next);
        for (const group of groups) {
          const sorted = next === "none" ? group.rows : [...group.rows].sort(compare(column, text, next === "ascending" ? 1 : -1));
          body.append(...group.head, ...sorted);
        }
      };
      head.tabIndex = 0;
      head.title = "sort";
      head.setAttribute("aria-sort", "none");
      head.addEventListener("click", sort);
      head.addEventListener("keydown", (event) => event.key === "Enter" && sort());
    });
    if (rows.length < LONG) continue;
    const field = document.createElement("input");
    field.type = "search";
    field.placeholder = "rows with …";
    field.setAttribute("aria-label", "show rows that hold a word");
    field.addEventListener("input", () => {
      const wanted = field.value.toLowerCase();
      for (const group of groups) for (const row of group.rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
    });
    table.parentElement.before(field);
  }
  const unfold = () => { // what a link leads to is opened in every browser
    const place = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!place) return;
    for (let fold = place.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
    place.scrollIntoView();
  };
  addEventListener("hashchange", unfold);
  unfold();
})();
