"use strict";
(() => {
  const head = JSON.parse(document.getElementById("head").textContent);
  const cases = new Map(head.cases.map((row) => [row.id, row]));
  const names = ["id", "source", "section", "level", "role", "statement", "testable", "how"];
  const requirements = new Map(
    head.requirements.map((row) => [row[0], Object.fromEntries(names.map((name, at) => [name, row[at]]))]),
  );
  const covered = head.coverage.requirements;
  const byRequirement = new Map();
  for (const row of head.cases) {
    for (const clause of row.clauses) {
      if (!byRequirement.has(clause)) byRequirement.set(clause, []);
      byRequirement.get(clause).push(row);
    }
  }
  const views = ["overview", "coverage", "case"];
  const view = (name) => document.getElementById(`view-${name}`);

  /* An element with attributes and children. Text only ever becomes a text node. */
  function make(tag, attributes, ...children) {
    const [name, ...classes] = tag.split(".");
    const element = document.createElement(name || "div");
    if (classes.length) element.className = classes.join(" ");
    for (const [key, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else element.setAttribute(key, value === true ? "" : value);
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
    return element;
  }
  const link = (id, text) => make("a", { href: `#${encodeURIComponent(id)}` }, text || id);
  const badge = (verdict) => make("span.badge", null, verdict);

  /* ---- overview: filters over the rows that stand in the document ---- */
  const search = document.getElementById("search");
  const area = document.getElementById("area");
  const role = document.getElementById("role");
  const chips = [...document.querySelectorAll("[data-chip]")];
  const listed = [...document.querySelectorAll("#cases tbody tr")].map((element, at) => {
    const row = head.cases[at];
    const text = [row.id, row.title, row.reason, row.expected_failure, ...row.clauses].join("\n").toLowerCase();
    return { element, row, text };
  });

  function filterCases() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const verdicts = chips.filter((chip) => chip.getAttribute("aria-pressed") === "true").map((chip) => chip.dataset.chip);
    let count = 0;
    for (const { element, row, text } of listed) {
      const wanted =
        words.every((word) => text.includes(word)) &&
        (!verdicts.length || verdicts.includes(row.verdict)) &&
        (!area.value || element.dataset.area === area.value) &&
        (!role.value || row.role === role.value);
      element.hidden = !wanted;
      count += wanted;
    }
    document.getElementById("shown").textContent = count === listed.length ? `${count} cases` : `${count} of ${listed.length} cases`;
  }
  function press(verdict) {
    for (const chip of chips) chip.setAttribute("aria-pressed", String(chip.dataset.chip === verdict));
  }
  search.addEventListener("input", filterCases);
  area.addEventListener("change", filterCases);
  role.addEventListener("change", filterCases);
  for (const chip of chips) {
    chip.addEventListener("click", () => {
      chip.setAttribute("aria-pressed", String(chip.getAttribute("aria-pressed") !== "true"));
      filterCases();
    });
  }
  document.getElementById("reset").addEventListener("click", () => {
    search.value = area.value = role.value = "";
    press(null);
    filterCases();
  });
  document.getElementById("matrix").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    area.value = button.dataset.area;
    press(button.dataset.verdict || null);
    filterCases();
    document.getElementById("cases-title").scrollIntoView({ block: "start" });
    search.focus({ preventScroll: true });
  });

  /* ---- coverage ---- */
  const STATES = {
    covered: "covered",
    broken: "broken",
    touched: "touched",
    open: "no case ran",
    unseen: "not on the wire",
  };
  function stateOf(row) {
    if (covered[row.id]) return "covered";
    const own = byRequirement.get(row.id) || [];
    if (head.cases.some((item) => item.failed.includes(row.id))) return "broken";
    if (own.length) return "touched";
    return row.testable === "no" ? "unseen" : "open";
  }

  function bar(part, all) {
    const namespace = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(namespace, "svg");
    svg.setAttribute("class", "bar");
    svg.setAttribute("viewBox", "0 0 1000 10");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    const rect = document.createElementNS(namespace, "rect");
    rect.setAttribute("height", "10");
    rect.setAttribute("width", String(all ? (1000 * part) / all : 0));
    svg.append(rect);
    return svg;
  }

  function choice(label, options) {
    const select = make("select", null, options.map(([value, text]) => make("option", { value }, text)));
    return [make("label", null, `${label} `, select), select];
  }

  function coveragePage() {
    const page = view("coverage");
    if (page.childElementCount) return;
    const all = [...requirements.values()];
    const must = all.filter((row) => row.level === "MUST" && row.testable !== "no");
    const done = must.filter((row) => covered[row.id]).length;
    const [levelLabel, level] = choice("level", [["", "all"], ["MUST", "MUST"], ["SHOULD", "SHOULD"], ["MAY", "MAY"]]);
    const [stateLabel, state] = choice("state", [["", "all"], ...Object.entries(STATES)]);
    const [roleLabel, binds] = choice("binds", [["", "anyone"], ["target", "target"], ["initiator", "initiator"]]);
    const words = make("input", { type: "search", placeholder: "Search ids, statements, cases", autocomplete: "off" });
    const shown = make("p", { role: "status", "aria-live": "polite" });
    const body = make("tbody");
    const sections = [];
    let current = null;
    for (const row of all) {
      const title = `${row.source}, section ${row.section}`;
      if (!current || current.title !== title) {
        current = { title, rows: [], head: make("tr.section-row", null, make("th", { colspan: 5, scope: "rowgroup" }, title)) };
        sections.push(current);
        body.append(current.head);
      }
      const own = byRequirement.get(row.id) || [];
      const states = stateOf(row);
      const element = make("tr", { id: `requirement-${row.id}` },
        make("td.id", null, row.id),
        make("td", null, make("span.level", null, row.level)),
        make("td", null, row.statement),
        make("td", null, make(`span.state.state-${states}`, { title: row.how }, STATES[states])),
        make("td", null, make("span.caselist", null, own.map((item) => make(`span.v-${item.verdict}`, null, badge(item.verdict), " ", link(item.id))))));
      body.append(element);
      current.rows.push({ element, row, state: states, text: `${row.id}\n${row.statement}\n${own.map((item) => item.id).join("\n")}`.toLowerCase() });
    }
    for (const section of sections) {
      const got = section.rows.filter((item) => item.state === "covered").length;
      section.head.firstChild.append(make("span.dim", null, ` ${got} of ${section.rows.length} covered`));
    }
    const filter = () => {
      const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      for (const section of sections) {
        let any = false;
        for (const { element, row, state: is, text } of section.rows) {
          const keep =
            wanted.every((word) => text.includes(word)) &&
            (!level.value || row.level === level.value) &&
            (!state.value || is === state.value) &&
            (!binds.value || row.role === binds.value || row.role === "both");
          element.hidden = !keep;
          any = any || keep;
          count += keep;
        }
        section.head.hidden = !any;
      }
      shown.textContent = count === all.length ? `${count} requirements` : `${count} of ${all.length} requirements`;
    };
    for (const control of [words, level, state, binds]) control.addEventListener("input", filter);
    page.append(
      make("h1", { tabindex: -1 }, "Coverage"),
      make("p.lead", null, `${done} of ${must.length} MUST requirements that can be seen on the wire are covered: a case passed, and a fault of its own makes that case fail.`),
      bar(done, must.length),
      make("h2", null, "Requirements by section"),
      make(".filters", { role: "search", "aria-label": "Filter the requirements" }, make("label.search", null, make("span.hidden-text", null, "Search"), words), levelLabel, stateLabel, roleLabel, shown),
      make("table.coverage", null,
        make("thead", null, make("tr", null, ["requirement", "level", "statement", "state", "cases"].map((text) => make("th", { scope: "col" }, text)))),
        body),
      ...otherCoverage(),
    );
    filter();
  }

  function otherCoverage() {
    const tables = Object.entries(head.coverage.events).map(([source, rows]) => [`Events of ${source}`, rows, head.coverage.synthetic[source] || []]);
    tables.push(["Status codes", head.coverage.status_codes]);
    return tables
      .filter(([, rows]) => Object.keys(rows).length)
      .flatMap(([title, rows, made = []]) => [
        make("h2", null, title),
        make("table.coverage", null, make("tbody", null, Object.entries(rows).map(([id, own]) =>
          make("tr", null, make("th.id", { scope: "row" }, id, made.includes(id) ? make("span.dim", null, " synthetic") : null), make("td", null, make("span.caselist", null, own.map((item) => link(item)))))))),
      ]);
  }

  /* ---- a case's page ---- */
  function fact(name, value) {
    return value ? make("div", null, make("dt", null, name), make("dd", null, value)) : null;
  }

  function casePage(row) {
    const page = view("case");
    const at = head.cases.indexOf(row);
    const before = head.cases[at - 1];
    const after = head.cases[at + 1];
    const source = [...document.querySelectorAll("script[data-dialogue]")][at];
    const rows = JSON.parse(source.textContent);
    const said = row.reason || (row.verdict === "PASS" ? "Everything that the case expects was seen." : "");
    page.replaceChildren(
      make("nav.crumbs", { "aria-label": "Cases" }, link("overview", "All cases"), before ? link(before.id, `← ${before.id}`) : null, after ? link(after.id, `${after.id} →`) : null),
      make(`.case-head.v-${row.verdict}`, null, make("h1", { tabindex: -1 }, row.id), badge(row.verdict)),
      make("p.lead", null, row.title),
      make(`.panel.case-reason.v-${row.verdict}`, null,
        make("p", null, said),
        row.expected_failure ? make("p", null, row.expected_failure) : null,
        row.gone ? make("p", null, "The product was gone afterwards.") : null,
        row.probe ? make("p", null, `The probe: ${row.probe}`) : null),
      make("dl.about-case", null,
        fact("level", row.level), fact("role", row.role), fact("connection", row.ending),
        fact("took", `${row.duration.toFixed(6)} s on the ${row.clock} clock`), fact("over", row.transport),
        fact("fault in force", row.fault),
        row.capture ? fact("capture", make("a", { href: row.capture, download: true }, row.capture.split("/").pop())) : null),
      ...section("Requirements", row.clauses.map((clause) => requirementRow(row, clause))),
      ...section("Status codes", Object.entries(row.codes).map(([code, name]) => codeRow(row, code, name))),
      ...section("Findings of the rule book", row.findings.map((finding) => findingRow(finding))),
      ...section("Events", [
        ...row.expected_events.map((event) => make("li", null, `expected: ${event}`)),
        ...row.events.map((event) => make("li", null, `logged: ${event}`))]),
      ...section("Notes", row.notes.map((note) => make("li", null, make("pre", null, note)))),
      ...dialogue(row, rows),
    );
    document.title = `${row.verdict} ${row.id}`;
  }

  function section(title, items) {
    return items.length ? [make("h2", null, title), make("ul.panel.rows", null, items)] : [];
  }

  function codeRow(row, code, name) {
    const proof = row.proofs[code];
    return make("li", null,
      make("p", null, make("span.mono", null, code), " ", make("code", null, name), row.failed.includes(code) ? make("span.broken", null, " not told") : null),
      proof ? make("p.small.dim", null, "proven by the fault ", make("code", null, proof), head.faults[proof] ? `: ${head.faults[proof]}` : "") : null);
  }

  function requirementRow(row, clause) {
    const known = requirements.get(clause);
    const proof = row.proofs[clause];
    return make("li", null,
      make("p", null, make("span.mono", null, known ? link(clause) : clause), " ", known ? make("span.level.dim", null, known.level) : null,
        row.failed.includes(clause) ? make("span.broken", null, " broken") : null),
      known ? make("p", null, known.statement) : make("p.dim", null, "not in this program's catalogue"),
      proof ? make("p.small.dim", null, "proven by the fault ", make("code", null, proof), head.faults[proof] ? `: ${head.faults[proof]}` : "") : null);
  }

  function findingRow(finding) {
    const place = finding.index === null ? null : make("button.plain", { type: "button", onclick: () => showRow(finding.index) }, `show record ${finding.index}`);
    return make("li", null,
      make("p", null, make("span.level", { class: finding.level === "MUST" ? "level broken" : "level" }, finding.level), " ", make("code", null, finding.rule), " ", link(finding.clause), " ", make("span.dim", null, finding.role), " ", place),
      make("p", null, finding.message));
  }

  function showRow(index) {
    const row = document.getElementById(`record-${index}`);
    if (!row) return;
    const details = row.querySelector("details");
    if (details) details.open = true;
    (row.querySelector("summary") || row).focus();
    row.scrollIntoView({ block: "center" });
  }

  const KINDS = ["pdu", "bytes", "transport", "settings", "gap"];
  function dialogue(row, rows) {
    const wires = new Set(rows.map((item) => item[3]).filter(Boolean));
    const found = new Map();
    for (const finding of row.findings) {
      if (finding.index !== null) found.set(finding.index, [...(found.get(finding.index) || []), finding]);
    }
    const list = make("ol", null, rows.map((item) => record(item, wires.size > 1, found.get(item[1]) || [])));
    const all = make("button.plain", { type: "button", onclick: () => {
      const closed = [...list.querySelectorAll("details:not([open])")];
      for (const details of closed.length ? closed : list.querySelectorAll("details")) details.open = closed.length > 0;
    } }, "Open or close all PDUs");
    const tested = (who) => (row.role === who ? make("small", null, " under test") : null);
    return [
      make(".dialogue-head", null, make("h2", { id: "dialogue-title" }, "Dialogue"), rows.length ? all : null),
      rows.length
        ? make("section.dialogue", { "aria-labelledby": "dialogue-title" },
            make(".parties", null, make("span", null, "Initiator", tested("initiator")), make("span", null, "Target", tested("target"))),
            list)
        : make("p.dim", null, "Nothing crossed a connection in this case."),
    ];
  }

  function record(item, several, findings) {
    const [kind, index, time, connection, direction, lineNumber, payload, bhs, layoutNumber] = item;
    const layout = bhs === undefined ? [] : head.layouts[layoutNumber];
    const values = new Map(layout.map((field) => [field[0], fieldValue(field, bhs)]));
    const line = head.lines[lineNumber].replace(/(\w+)=\u0001/g, (_, name) => `${name}=${values.get(name)}`);
    const plain = KINDS[kind] !== "pdu" && KINDS[kind] !== "bytes";
    const [, name, telling] = /^(.*?)((?: \w+=| \+\d+ bytes| HEADER DIGEST| DATA DIGEST)[^]*)?$/s.exec(line);
    const way = plain ? "aside" : direction === 0 ? "out" : "in";
    const level = findings.some((finding) => finding.level === "MUST") ? "found" : "found.advice";
    const lane = make(".lane", null,
      plain
        ? make("span", null, several && connection ? `connection ${connection}: ${line}` : line)
        : [several ? make("span.chan", null, `c${connection}`) : null, make("span.hidden-text", null, direction === 0 ? "to the target: " : "to the initiator: "), make("span.name", null, name), telling ? make("span.telling", null, telling) : null],
      findings.map((finding) => make("span.callout", null, `${finding.rule}: ${finding.message}`)));
    const stamp = make("span.time", null, KINDS[kind] === "gap" ? "" : time.toFixed(6));
    const entry = make(`li.${way}.${KINDS[kind]}${findings.length ? `.${level}` : ""}`, { id: index < 0 ? null : `record-${index}` });
    if (bhs === undefined && !payload) {
      entry.tabIndex = findings.length ? -1 : entry.tabIndex;
      entry.append(make(".still", null, stamp, lane));
      return entry;
    }
    const details = make("details", null, make("summary", null, stamp, lane));
    details.addEventListener("toggle", () => {
      if (details.open && details.childElementCount === 1) details.append(contents(payload, bhs, layout, values));
    });
    entry.append(details);
    return entry;
  }

  function fieldValue([, offset, size, mask, how], bhs) {
    if (how[0] === "=") return how.slice(1);
    const hex = bhs.slice(2 * offset, 2 * (offset + size));
    if (how === "b") return hex;
    let number = BigInt(`0x${hex}`);
    if (mask) {
      const low = BigInt(mask) & -BigInt(mask);
      number = (number & BigInt(mask)) / low;
    }
    return how === "x" ? `0x${number.toString(16)}` : number.toString();
  }

  function contents(payload, bhs, layout, values) {
    const left = make("div");
    const right = make("div");
    if (bhs !== undefined) {
      const bytes = bhs.match(/../g).map((text) => make("b", null, text));
      const lines = [0, 16, 32].flatMap((start) => [make("i", null, start.toString().padStart(2, "0")), ...bytes.slice(start, start + 16)]);
      left.append(make("h4", null, "Basic header segment, 48 bytes"), make(".hex", null, lines));
      const mark = (field, on) => {
        for (let at = field[1]; at < field[1] + field[2]; at += 1) if (bytes[at]) bytes[at].classList.toggle("on", on);
      };
      right.append(make("h4", null, "Fields"), make("table.fields", null,
        make("thead", null, make("tr", null, ["name", "bytes", "mask", "value"].map((text) => make("th", { scope: "col" }, text)))),
        make("tbody", null, layout.map((field) => {
          const [name, offset, size, mask] = field;
          const place = size > 1 ? `${offset}–${offset + size - 1}` : String(offset);
          return make("tr", { tabindex: 0, onmouseenter: () => mark(field, true), onmouseleave: () => mark(field, false), onfocus: () => mark(field, true), onblur: () => mark(field, false) },
            make("td", null, name), make("td", null, place), make("td", null, mask ? `0x${mask.toString(16)}` : ""), make("td", null, values.get(name)));
        }))));
    }
    if (payload) left.append(make("h4", null, "Data"), make("pre.payload", { tabindex: 0 }, payload));
    return make(".inside", null, left, bhs === undefined ? null : right);
  }

  /* ---- which page: the hash is a part of the report, a case's id or a requirement's ---- */
  function route() {
    let id = "";
    try {
      id = decodeURIComponent(location.hash.slice(1));
    } catch {
      id = location.hash.slice(1);
    }
    const row = cases.get(id);
    const requirement = requirements.get(id);
    const name = row ? "case" : id === "coverage" || requirement ? "coverage" : "overview";
    if (row) casePage(row);
    else document.title = first;
    if (name === "coverage") coveragePage();
    for (const other of views) view(other).hidden = other !== name;
    for (const item of document.querySelectorAll("[data-nav]")) {
      if (item.dataset.nav === name) item.setAttribute("aria-current", "page");
      else item.removeAttribute("aria-current");
    }
    for (const here of document.querySelectorAll("tr.here")) here.classList.remove("here");
    window.scrollTo(0, 0);
    if (requirement) {
      const place = document.getElementById(`requirement-${id}`);
      place.classList.add("here");
      place.scrollIntoView({ block: "center" });
    } else if (id) {
      (view(name).querySelector("h1") || view(name)).focus({ preventScroll: true });
    }
  }
  const first = document.title;
  window.addEventListener("hashchange", route);
  route();
})();
