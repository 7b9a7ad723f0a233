// The plots with a mouse and with the keyboard: what a result says stands below its plot, and one Tab stop a plot
// leads to all its results by the arrow keys. Without this script they are links to the rows of the table.

const STEPS = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 };

/** Make the plots inside `root` answer to pointer and keyboard. */
export function enliven(root) {
  for (const plot of root.querySelectorAll(".plot")) {
    const marks = [...plot.querySelectorAll("a.mark")];
    const readout = plot.querySelector(".readout");
    if (marks.length === 0) continue;
    const tell = (mark) => {
      readout.textContent = mark.getAttribute("aria-label");
      marks.forEach((other) => other.setAttribute("tabindex", other === mark ? "0" : "-1"));
    };
    readout.hidden = false;
    readout.setAttribute("aria-hidden", "true"); // the marks say the same
    tell(marks.at(-1));
    marks.forEach((mark, place) => {
      mark.addEventListener("pointerenter", () => tell(mark));
      mark.addEventListener("focus", () => tell(mark));
      mark.addEventListener("keydown", (event) => {
        const next = { Home: 0, End: marks.length - 1 }[event.key] ?? place + (STEPS[event.key] ?? NaN);
        if (Number.isNaN(next)) return;
        event.preventDefault();
        marks[Math.min(Math.max(next, 0), marks.length - 1)].focus();
      });
    });
  }
}

enliven(document);
