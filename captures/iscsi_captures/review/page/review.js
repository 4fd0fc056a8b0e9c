"use strict";
(() => {
  /* ---- filters over the findings that stand in the document ---- */
  const filters = document.getElementById("filters");
  if (filters) {
    filters.hidden = false;
    const search = document.getElementById("search");
    const rule = document.getElementById("rule");
    const role = document.getElementById("role");
    const chips = [...filters.querySelectorAll("[data-chip]")];
    const rows = [...document.querySelectorAll("#list > li")].map((element) => ({
      element,
      text: element.querySelector("summary").textContent.toLowerCase(),
    }));
    const filter = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const levels = chips.filter((chip) => chip.getAttribute("aria-pressed") === "true").map((chip) => chip.dataset.chip);
      let count = 0;
      for (const { element, text } of rows) {
        const { level, rule: is, role: by } = element.dataset;
        const wanted =
          words.every((word) => text.includes(word)) &&
          (!levels.length || levels.includes(level)) &&
          (!rule.value || is === rule.value) &&
          (!role.value || by === role.value);
        element.hidden = !wanted;
        count += wanted;
      }
      document.getElementById("shown").textContent =
        count === rows.length ? `${count} findings` : `${count} of ${rows.length} findings`;
    };
    const reset = () => {
      search.value = rule.value = role.value = "";
      for (const chip of chips) chip.setAttribute("aria-pressed", "false");
      filter();
    };
    search.addEventListener("input", filter);
    rule.addEventListener("change", filter);
    role.addEventListener("change", filter);
    for (const chip of chips) {
      chip.addEventListener("click", () => {
        chip.setAttribute("aria-pressed", String(chip.getAttribute("aria-pressed") !== "true"));
        filter();
      });
    }
    document.getElementById("reset").addEventListener("click", reset);
    window.addEventListener("hashchange", () => {
      const row = rows.find(({ element }) => `#${element.id}` === location.hash);
      if (row && row.element.hidden) reset();
    });
  }

  /* ---- a link to a finding or a command opens it ---- */
  function reveal() {
    const row = document.getElementById(location.hash.slice(1));
    const details = row && row.querySelector(":scope > details");
    if (!details) return;
    details.open = true;
    details.querySelector("summary").focus({ preventScroll: true });
    row.scrollIntoView();
  }
  window.addEventListener("hashchange", reveal);
  reveal();

  /* ---- copying ---- */
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      let done = true;
      try {
        await navigator.clipboard.writeText(button.dataset.copy);
      } catch {
        /* A page from a file may not have the clipboard: mark the text, so that a key copies it. */
        done = false;
        getSelection().selectAllChildren(button.previousElementSibling);
      }
      button.textContent = done ? "copied" : "selected";
      setTimeout(() => {
        button.textContent = "copy";
      }, 1500);
    });
  }

  /* ---- reading out the plots ---- */
  function amount(value, units) {
    const [size, name] = units.find(([least]) => value >= least) || units[units.length - 1];
    return `${Number((value / size).toPrecision(3))} ${name}`;
  }
  const time = (value) => amount(value, [[1, "s"], [1e-3, "ms"], [1e-6, "µs"]]);
  const rate = (value) => amount(value, [[1e9, "GB/s"], [1e6, "MB/s"], [1e3, "kB/s"], [1, "B/s"]]);
  const loads = JSON.parse(document.getElementById("readouts").textContent);
  for (const figure of document.querySelectorAll("[data-plot]")) {
    const load = loads[Number(figure.dataset.plot)];
    const svg = figure.querySelector(".plot");
    const cursor = svg.querySelector(".cursor");
    const readout = figure.querySelector(".readout");
    const count = load.commands.length;
    let at = -1;
    readout.hidden = false;
    const show = (index) => {
      at = Math.min(Math.max(index, 0), count - 1);
      const x = load.left + ((at + 0.5) * load.plot) / count;
      cursor.removeAttribute("hidden");
      cursor.setAttribute("d", `M${x} 14V${svg.viewBox.baseVal.height - 40}`);
      const commands = load.commands[at];
      const latency = commands ? `mean ${time(load.latency[at])}, longest ${time(load.longest[at])}` : "none ended";
      readout.textContent = [
        `${(load.start + at * load.width).toFixed(6)} s:`,
        `${commands} ${commands === 1 ? "command" : "commands"}, ${latency};`,
        `${rate(load.in[at] / load.width)} to the initiator, ${rate(load.out[at] / load.width)} to the target;`,
        `depth ${load.depth[at]}`,
      ].join(" ");
    };
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) * svg.viewBox.baseVal.width) / box.width;
      show(Math.floor(((x - load.left) * count) / load.plot));
    });
    svg.parentElement.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      show(at + step);
    });
  }
})();
