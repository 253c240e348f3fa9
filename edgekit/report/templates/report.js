// Sorting, the columns that are hidden at first, and the panel with a record's facts.
"use strict";
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement;
    const table = head.closest("table");
    const rising = head.getAttribute("aria-sort") !== "ascending";
    for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const place = head.cellIndex;
    const numeric = head.classList.contains("number");
    const body = table.tBodies[0];
    const value = (row) => row.cells[place].dataset.order;
    const rows = [...body.rows].sort((one, other) => {
      const [a, b] = [value(one), value(other)];
      if (a === "" || b === "") return (a === "") - (b === ""); // nothing known goes last, always
      const order = numeric ? a - b : a.localeCompare(b, "en", { numeric: true });
      return rising ? order : -order;
    });
    body.append(...rows);
  });
}
for (const box of document.querySelectorAll("input[data-all]")) {
  const table = document.getElementById(box.dataset.all);
  box.addEventListener("change", () => table.classList.toggle("all", box.checked));
}
const panel = document.querySelector("dialog");
const records = new Map();
for (const record of document.querySelectorAll("details.record")) {
  records.set(record.dataset.key, record);
}
document.addEventListener("click", (event) => {
  const from = event.target.closest("[data-record]");
  const record = from && records.get(from.dataset.record);
  if (!record) return;
  event.preventDefault();
  panel.querySelector("h2").textContent = record.dataset.key;
  panel.querySelector(".panel").replaceChildren(record.querySelector("dl").cloneNode(true));
  panel.showModal();
});
