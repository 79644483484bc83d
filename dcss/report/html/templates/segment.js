// A segment page by page: a line of the picture is 2 MiB, or a half or a quarter of that where the window is narrow.

const GUTTER = 92;
const LEVELS = 6;

class SegmentPicture {
  constructor(place, data, segments, files, sets) {
    Object.assign(this, { data, segments, files, sets, view: "guests", guest: 0, cursor: 0, marked: -1 });
    this.layers = new Map();
    const segment = choice("Segment", segments.map((each, index) => [index, each.name]), (value) => this.show(Number(value)));
    this.segmentChoice = segment.select;
    if (segments.length < 2) segment.label.hidden = true;
    const view = choice("Show", [["guests", "how many guests use a page"], ["files", "where files lie"], ["one", "what one guest uses"]],
      (value) => { this.view = value; this.guestLabel.hidden = value !== "one"; this.legend(); this.draw(); });
    const guest = choice("Guest", [], (value) => { this.guest = Number(value); this.draw(); });
    this.guestLabel = guest.label;
    this.guestChoice = guest.select;
    this.guestLabel.hidden = true;
    if (sets.starts === null) view.select.lastChild.disabled = true;
    this.legendPlace = element("p", { class: "legend" });
    this.canvas = element("canvas", { "aria-hidden": "true" });
    this.length = element("div", { class: "length" });
    this.box = element("div", { class: "picture", tabindex: "0", role: "application", "aria-describedby": "picture-keys" }, this.length, this.canvas);
    this.keys = element("p", { id: "picture-keys", class: "count" },
      "Arrow keys move by a page or a line, Page Up and Page Down by ten lines, N and P to the next or the run before, Home and End to the first or last page.");
    this.detail = element("dl", { class: "detail", role: "status", "aria-live": "polite", "aria-label": "The page under the cursor" });
    this.table = element("details", {}, element("summary", {}, "The same as a table of runs"));
    this.table.addEventListener("toggle", () => this.runTable());
    this.summary = element("p", { class: "lead" });
    place.append(element("div", { class: "controls" }, segment.label, view.label, guest.label), this.summary, this.legendPlace, this.box, this.keys, this.detail, this.table);
    this.box.addEventListener("scroll", () => this.draw(), { passive: true });
    this.box.addEventListener("keydown", (event) => this.key(event));
    this.box.addEventListener("pointermove", (event) => this.point(event, false));
    this.box.addEventListener("click", (event) => this.point(event, true));
    new ResizeObserver(() => this.layout()).observe(this.box);
    this.show(0);
  }

  show(index) {
    this.current = this.segments[index];
    this.segmentChoice.value = index;
    this.guestsOfHost();
    this.layer = this.layers.get(index) || this.decode(this.current);
    this.layers.set(index, this.layer);
    this.cursor = Math.min(this.cursor, Math.max(0, this.current.pages - 1));
    this.box.setAttribute("aria-label", `Pages of segment ${this.current.name}`);
    this.madeTable = null;
    this.summarize();
    this.layout();
    this.legend();
    this.describe();
    this.runTable();
  }

  // A segment of a fleet is a host's, and only the guests of that host can use it.
  guestsOfHost() {
    const { name, host } = this.data.guests, numbers = name.map((_, index) => index);
    const shown = numbers.filter((index) => this.current.host === null || host[index] === this.current.host);
    this.guestChoice.replaceChildren(...shown.map((index) => element("option", { value: index }, name[index])));
    if (!shown.includes(this.guest)) this.guest = shown.length ? shown[0] : 0;
    this.guestChoice.value = this.guest;
  }

  decode(segment) {
    const layer = { runs: {}, hugeMappings: decodeNumbers(segment.huge_mappings), hugeFrame: decodeNumbers(segment.huge_frame) };
    for (const key of ["file", "set", "resident"]) {
      layer.runs[key] = decodeRuns(segment[key]);
      layer[key] = spread(layer.runs[key], segment.pages);
    }
    layer.joint = jointRuns(layer, segment.pages);
    layer.most = layer.runs.set.reduce((most, run) => Math.max(most, this.sets.sizes[run.value]), 0);
    layer.levels = new Set(layer.runs.set.map((run) => level(this.sets.sizes[run.value], layer.most)));
    return layer;
  }

  summarize() {
    const { layer, current, data } = this;
    let unused = 0;
    for (const run of layer.runs.set) if (this.sets.sizes[run.value] === 0) unused += run.length;
    const huge = layer.hugeFrame.filter(Boolean).length, mapped = layer.hugeMappings.filter((guests) => guests > 0).length;
    const size = bytes(current.pages * data.page_bytes);
    this.summary.textContent = `${current.name}: ${whole(current.pages)} pages, ${size}. Nobody uses ${count(unused, "page")} (${bytes(unused * data.page_bytes)}). `
      + `Of ${whole(layer.hugeMappings.length)} whole pieces of 2 MiB, huge pages can map ${whole(mapped)}`
      + (current.frames_known ? `, and ${whole(huge)} lie in a huge page.` : ".");
  }

  layout() {
    const width = Math.max(260, this.box.clientWidth);
    const huge = this.data.huge_pages;
    this.perLine = huge;
    while (this.perLine > 64 && (width - GUTTER) / this.perLine < 1.5) this.perLine /= 2;
    this.cell = Math.max(1, (width - GUTTER - 4) / this.perLine);
    this.lines = Math.ceil(this.current.pages / this.perLine);
    this.lineHeight = this.lines <= 24 ? 16 : 11;
    const height = this.lines * this.lineHeight + 4;
    this.length.style.height = `${height}px`;
    const seen = this.printing ? Math.min(height, 12000) : Math.min(height, Math.floor(480 / this.lineHeight) * this.lineHeight + 4);
    const ratio = this.ratio = this.printing ? 2 : devicePixelRatio || 1;
    this.canvas.width = width * ratio;
    this.canvas.height = seen * ratio;
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${seen}px`;
    this.box.style.height = `${seen + 2}px`;
    this.draw();
  }

  draw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.paint(); });
  }

  paint() {
    const context = this.canvas.getContext("2d"), top = this.printing ? 0 : this.box.scrollTop;
    const colours = colourTable();
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.font = "11px ui-monospace, 'DejaVu Sans Mono', monospace";
    context.textBaseline = "middle";
    const first = Math.max(0, Math.floor(top / this.lineHeight)), seen = this.canvas.height / this.ratio / this.lineHeight;
    for (let line = first; line < Math.min(this.lines, first + seen + 1); line++) this.paintLine(context, line, line * this.lineHeight - top + 2, colours);
    this.paintCursor(context, top, colours);
  }

  paintLine(context, line, y, colours) {
    const start = line * this.perLine, end = Math.min(this.current.pages, start + this.perLine), height = this.lineHeight - 3;
    if (start % this.data.huge_pages === 0) {
      const extent = start / this.data.huge_pages, { hugeMappings, hugeFrame } = this.layer;
      context.fillStyle = colours.soft;
      context.fillText(`${(start * this.data.page_bytes / 1048576).toLocaleString("en-US")} MiB`, 6, y + height / 2);
      if (hugeFrame[extent]) { context.fillStyle = colours.ink; context.fillRect(72, y + height / 2 - 4, 8, 8); }
      if (hugeMappings[extent] > 0) { context.strokeStyle = colours.ink; context.strokeRect(70.5, y + height / 2 - 5.5, 11, 11); }
    }
    for (let page = start; page < end;) {
      const kind = this.kind(page);
      let next = page + 1;
      while (next < end && this.kind(next) === kind) next++;
      this.fill(context, kind, GUTTER + (page - start) * this.cell, y, (next - page) * this.cell, height, colours);
      page = next;
    }
  }

  // What a page is drawn as: a string that equal neighbours have in common.
  kind(page) {
    const { layer } = this;
    if (this.marked >= 0 && layer.file[page] === this.marked + 1) return "marked";
    if (!layer.resident[page]) return "absent";
    if (this.view === "files") return layer.file[page] === 0 ? "metadata" : layer.file[page] % 2 ? "file-a" : "file-b";
    if (this.view === "one") return this.sets.has(layer.set[page], this.guest) ? "scale-4" : "unused";
    const users = this.sets.sizes[layer.set[page]];
    return users === 0 ? "unused" : `scale-${level(users, layer.most)}`;
  }

  fill(context, kind, x, y, width, height, colours) {
    if (kind === "absent") {
      context.strokeStyle = colours.line;
      context.strokeRect(x + 0.5, y + 0.5, Math.max(0, width - 1), height - 1);
      return;
    }
    context.fillStyle = colours[kind];
    context.fillRect(x, y, Math.max(0.5, width), height);
    if (kind === "unused" || kind === "metadata") hatch(context, x, y, width, height, colours.card);
  }

  paintCursor(context, top, colours) {
    if (this.printing) return;
    const line = Math.floor(this.cursor / this.perLine), x = GUTTER + (this.cursor % this.perLine) * this.cell, y = line * this.lineHeight - top + 2;
    context.strokeStyle = colours.cursor;
    context.lineWidth = 2;
    context.strokeRect(x - 2, y - 1, Math.max(this.cell, 2) + 4, this.lineHeight - 1);
    context.lineWidth = 1;
  }

  point(event, keep) {
    if (!keep && document.activeElement === this.box) return; // the keyboard has it
    const bounds = this.box.getBoundingClientRect();
    const column = Math.floor((event.clientX - bounds.left - this.box.clientLeft + this.box.scrollLeft - GUTTER) / this.cell);
    const line = Math.floor((event.clientY - bounds.top + this.box.scrollTop - 2) / this.lineHeight);
    if (column < 0 || column >= this.perLine || line < 0) return;
    this.move(line * this.perLine + column, false);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.perLine, ArrowUp: -this.perLine,
      PageDown: 10 * this.perLine, PageUp: -10 * this.perLine, Home: -Infinity, End: Infinity };
    let target = null;
    if (event.key in moves) target = this.cursor + moves[event.key];
    else if (event.key === "n" || event.key === "p") target = this.runBeside(event.key === "n");
    if (target === null) return;
    event.preventDefault();
    this.move(target, true);
  }

  runBeside(forward) {
    const runs = this.layer.joint, at = runAt(runs, this.cursor);
    return runs[Math.max(0, Math.min(runs.length - 1, at + (forward ? 1 : -1)))].start;
  }

  move(page, follow) {
    this.cursor = Math.max(0, Math.min(this.current.pages - 1, page));
    if (follow) {
      const y = Math.floor(this.cursor / this.perLine) * this.lineHeight;
      if (y < this.box.scrollTop) this.box.scrollTop = y;
      else if (y + this.lineHeight > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = y + this.lineHeight - this.box.clientHeight + 4;
    }
    this.describe();
    this.draw();
  }

  describe() {
    if (!this.current.pages) return;
    const { layer, cursor, data } = this, run = layer.joint[runAt(layer.joint, cursor)], file = layer.file[cursor];
    const extent = Math.floor(cursor / data.huge_pages), fits = layer.hugeMappings[extent] || 0;
    const facts = [
      ["Page", `${whole(cursor)} (at ${bytes(cursor * data.page_bytes)})`],
      ["File", file ? filePath(this.files[file - 1]) : "metadata or free"],
      ["Used by", this.sets.describe(layer.set[cursor])],
      ["Run", `pages ${whole(run.start)} to ${whole(run.start + run.length - 1)}, ${bytes(run.length * data.page_bytes)}`],
      ["Huge page", (this.current.frames_known ? (layer.hugeFrame[extent] ? "lies in one; " : "lies in none; ") : "") + (fits ? `can map it for ${count(fits, "process", "processes")}` : "can map it for no guest")],
    ];
    this.detail.replaceChildren(...facts.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))));
  }

  mark(fileIndex) {
    const segment = this.segments.findIndex((each, index) => {
      const layer = this.layers.get(index) || this.decode(each);
      this.layers.set(index, layer);
      return layer.runs.file.some((run) => run.value === fileIndex + 1);
    });
    if (segment < 0) return;
    this.marked = fileIndex;
    this.show(segment);
    this.legend();
    this.move(this.layer.runs.file.find((run) => run.value === fileIndex + 1).start, true);
    this.box.focus();
    this.box.scrollIntoView({ block: "center" });
  }

  legend() {
    const keys = [];
    if (this.view === "guests") {
      const most = this.layer.most;
      keys.push(["unused", "nobody"]);
      for (let step = 1; step <= LEVELS; step++) {
        const range = this.layer.levels.has(step) && levelRange(step, most);
        if (range) keys.push([`scale-${step}`, range]);
      }
    } else if (this.view === "files") keys.push(["file-a", "a file"], ["file-b", "the next file"], ["metadata", "metadata or free"]);
    else keys.push(["scale-4", "used"], ["unused", "not used"]);
    if (this.marked >= 0) keys.push(["marked", filePath(this.files[this.marked])]);
    this.legendPlace.replaceChildren(...keys.map(([kind, text]) => element("span", {}, swatch(kind), text)),
      element("span", {}, "■ lies in a huge page"), element("span", {}, "□ a huge page can map it"));
  }

  runTable() {
    if (!this.table.open || this.madeTable === this.current) return;
    this.madeTable = this.current;
    const place = element("div");
    [...this.table.querySelectorAll(":scope > div")].forEach((each) => each.remove());
    this.table.append(place);
    const { layer, sets, files, data } = this;
    const path = (run) => (run.file ? filePath(files[run.file - 1]) : "metadata or free");
    this.rows = new RowTable(place, {
      label: `Runs of pages of segment ${this.current.name}`, rows: layer.joint, noun: "run", filterLabel: "Filter by file or guests",
      text: (run) => `${path(run)} ${sets.describe(run.set)}`,
      columns: [
        { title: "First page", first: true, number: true, value: (run) => run.start, cell: (cell, run) => cell.append(whole(run.start)) },
        { title: "Pages", number: true, value: (run) => run.length, cell: (cell, run) => cell.append(whole(run.length)) },
        { title: "MiB", number: true, value: (run) => run.length, cell: (cell, run) => cell.append(mebibytes(run.length * data.page_bytes)) },
        { title: "Guests", number: true, value: (run) => sets.sizes[run.set], cell: (cell, run) => cell.append(whole(sets.sizes[run.set])) },
        { title: "Used by", value: (run) => sets.describe(run.set), cell: (cell, run) => cell.append(sets.describe(run.set)) },
        { title: "File", value: path, cell: (cell, run) => cell.append(path(run)) },
      ],
    });
  }

  print(printing) {
    this.printing = printing;
    this.layout();
    this.waiting = false;
    this.paint();
    if (this.rows) this.rows.print(printing);
  }
}

// Runs in which the file, the guests and residency are the same.
function jointRuns(layer, pages) {
  const runs = [];
  for (let page = 0; page < pages; page++) {
    const last = runs[runs.length - 1], [file, set, resident] = [layer.file[page], layer.set[page], layer.resident[page]];
    if (last && last.file === file && last.set === set && last.resident === resident) last.length++;
    else runs.push({ start: page, length: 1, file, set, resident });
  }
  return runs;
}

function runAt(runs, page) {
  let [low, high] = [0, runs.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (runs[middle].start <= page) low = middle;
    else high = middle - 1;
  }
  return low;
}

// One guest is level 1; the others share the levels from 2 on evenly.
function level(users, most) {
  if (users <= 1) return users;
  return most <= LEVELS ? users : 2 + Math.min(LEVELS - 2, Math.floor(((users - 2) * (LEVELS - 1)) / (most - 1)));
}

function levelRange(step, most) {
  let [low, high] = [null, null];
  for (let users = 1; users <= most; users++) {
    if (level(users, most) !== step) continue;
    if (low === null) low = users;
    high = users;
  }
  if (low === null) return null;
  return low === high ? count(low, "guest") : `${whole(low)} to ${count(high, "guest")}`;
}

function hatch(context, x, y, width, height, colour) {
  context.save();
  context.beginPath();
  context.rect(x, y, width, height);
  context.clip();
  context.strokeStyle = colour;
  context.beginPath();
  for (let at = x - height - (x % 5); at < x + width; at += 5) {
    context.moveTo(at, y + height);
    context.lineTo(at + height, y);
  }
  context.stroke();
  context.restore();
}

const COLOURS = ["ink", "soft", "line", "card", "unused", "metadata", "cursor", "file-a", "file-b",
  ...Array.from({ length: LEVELS }, (_, index) => `scale-${index + 1}`)];

function colourTable() {
  const probe = element("i"), found = {};
  document.body.append(probe);
  for (const name of COLOURS) {
    probe.style.color = `var(--${name})`;
    found[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  found.marked = found.cursor;
  return found;
}

function swatch(kind) {
  const key = element("i", { class: `key key-${kind}`, "aria-hidden": "true" });
  key.style.backgroundColor = `var(--${kind === "marked" ? "cursor" : kind})`;
  if (kind === "unused" || kind === "metadata") key.style.backgroundImage = "repeating-linear-gradient(135deg, var(--card) 0 1px, transparent 1px 4px)";
  return key;
}

function filePath(file) {
  return file.directory + file.name;
}
