(() => {
  "use strict";
  const keyOf = (row, place) => row.cells[place].dataset.key;
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, place) => head.querySelector("button").addEventListener("click", () => {
      const rising = head.getAttribute("aria-sort") !== "ascending";
      const numeric = head.classList.contains("n");
      const rows = [...table.tBodies[0].rows];
      rows.sort((one, other) => {
        const a = keyOf(one, place), b = keyOf(other, place);
        if (a === "" || b === "") return (a === "") - (b === "");
        const order = numeric ? Number(a) - Number(b) : a.localeCompare(b, undefined, {numeric: true});
        return rising ? order : -order;
      });
      for (const each of heads) each.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      table.tBodies[0].append(...rows);
    }));
  }
  for (const field of document.querySelectorAll("input[data-table]")) {
    const table = document.getElementById(field.dataset.table);
    const told = field.closest("p").querySelector("[role=status]");
    field.addEventListener("input", () => {
      const wanted = field.value.trim().toLowerCase();
      let shown = 0;
      for (const row of table.tBodies[0].rows) {
        row.hidden = !row.textContent.toLowerCase().includes(wanted);
        shown += !row.hidden;
      }
      told.textContent = wanted ? `${shown} of ${table.tBodies[0].rows.length} rows` : "";
    });
  }
})();
