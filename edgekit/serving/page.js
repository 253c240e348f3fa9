"use strict";
const drop = document.getElementById("drop"), said = document.getElementById("said");
const table = document.querySelector("table"), picture = document.querySelector("img");
const input = document.querySelector("input");
const words = (answer) => {
  if (answer === null) return "–";
  const sure = answer.confidence === undefined ? "" : ` (${Math.round(100 * answer.confidence)} %)`;
  if (answer.label !== undefined) return answer.label + sure;
  if (answer.value !== undefined) return `${answer.value} ${answer.unit || ""}`;
  return JSON.stringify(answer).slice(0, 300);
};
const ask = async (file) => {
  table.replaceChildren();
  said.textContent = "…";
  URL.revokeObjectURL(picture.src);
  picture.src = URL.createObjectURL(file);
  picture.hidden = false;
  try {
    const type = file.type.startsWith("image/") ? file.type : "application/octet-stream";
    const reply = await fetch("predict", { method: "POST", body: file, headers: { "Content-Type": type } });
    const answer = await reply.json();
    said.textContent = answer.error || "";
    if (!reply.ok) return;
    for (const [name, value] of Object.entries(answer)) {
      const row = table.insertRow();
      row.insertCell().textContent = name;
      row.insertCell().textContent = words(value);
    }
  } catch (error) {
    said.textContent = `no answer: ${error.message}`;
  }
};
input.addEventListener("change", () => input.files[0] && ask(input.files[0]));
for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
  drop.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragenter" || name === "dragover");
    if (name === "drop" && event.dataTransfer.files[0]) ask(event.dataTransfer.files[0]);
  });
}
