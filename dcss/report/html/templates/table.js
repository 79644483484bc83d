// A table that sorts and filters, and makes only the rows that are seen: thousands scroll as smoothly as ten.

const ROW_HEIGHT = 30;
const SPARE_ROWS = 8;
const LEAST_SEEN = 440; // pixels: a table is not as high as it may be before it has rows
const MOST_PRINTED = 2000;

class RowTable {
  // columns: {title, value(row), cell(td, row), number, head, first}; rows: any values; text(row): what the filter searches.
  constructor(place, { label, columns, rows, text, filterLabel, noun, controls = [], sort = null }) {
    this.columns = columns;
    this.rows = rows;
    this.text = text;
    this.noun = noun;
    this.sort = sort; // {column, descending}, or null for the order of `rows`
    this.accepts = () => true;
    this.words = "";
    this.printing = false;
    this.shown = rows.map((_, index) => index);
    this.filter = element("input", { type: "search", "aria-label": filterLabel, placeholder: filterLabel, spellcheck: "false" });
    this.filter.addEventListener("input", () => { this.words = this.filter.value.toLowerCase(); this.update(); });
    this.counted = element("span", { class: "count", role: "status", "aria-live": "polite" });
    this.head = element("tr", { "aria-rowindex": "1" }, ...columns.map((column, index) => this.title(column, index)));
    this.body = element("tbody");
    this.table = element("table", { "aria-label": label, "aria-colcount": columns.length },
      element("thead", {}, this.head), this.body);
    this.box = element("div", { class: "rows", tabindex: "0", role: "region", "aria-label": `${label}, scrollable` }, this.table);
    this.box.addEventListener("scroll", () => this.draw(), { passive: true });
    place.append(element("div", { class: "controls" }, this.filter, ...controls, this.counted), this.box);
    this.update();
  }

  title(column, index) {
    const attributes = { scope: "col", class: column.number ? "number" : null };
    if (!column.value) return element("th", attributes, element("span", { class: "plain-head" }, column.title));
    const arrow = element("span", { class: "arrow", "aria-hidden": "true" });
    const button = element("button", { type: "button", class: column.wide ? "wide-head" : null, onclick: () => this.sortBy(index) }, column.title, arrow);
    return element("th", { ...attributes, "aria-sort": "none" }, button);
  }

  sortBy(index) {
    const column = this.columns[index];
    if (this.sort && this.sort.column === index) this.sort = { column: index, descending: !this.sort.descending };
    else this.sort = { column: index, descending: Boolean(column.number) };
    this.update();
  }

  accept(accepts) {
    this.accepts = accepts;
    this.update();
  }

  update() {
    const words = this.words;
    this.shown = [];
    this.rows.forEach((row, index) => {
      if (this.accepts(row) && (words === "" || this.text(row).toLowerCase().includes(words))) this.shown.push(index);
    });
    if (this.sort) this.order();
    [...this.head.children].forEach((th, index) => {
      if (!this.columns[index].value) return;
      const sorted = this.sort && this.sort.column === index;
      th.setAttribute("aria-sort", !sorted ? "none" : this.sort.descending ? "descending" : "ascending");
      th.querySelector(".arrow").textContent = !sorted ? "" : this.sort.descending ? "↓" : "↑";
    });
    const [some, all] = [this.shown.length, this.rows.length];
    this.counted.textContent = some === all ? count(all, this.noun) : `${whole(some)} of ${count(all, this.noun)}`;
    this.table.setAttribute("aria-rowcount", some + 1);
    this.box.scrollTop = 0;
    this.drawn = null;
    this.draw();
  }

  order() {
    const { value } = this.columns[this.sort.column], sign = this.sort.descending ? -1 : 1;
    const keys = this.rows.map(value);
    const unknown = (key) => key === null || key === -1;
    this.shown.sort((one, other) => {
      const [a, b] = [keys[one], keys[other]];
      if (unknown(a) || unknown(b)) return unknown(a) - unknown(b) || one - other; // what is not known stands last
      const found = typeof a === "string" ? (a < b ? -1 : a > b ? 1 : 0) : a - b;
      return sign * found || one - other;
    });
  }

  draw() {
    const all = this.printing ? Math.min(this.shown.length, MOST_PRINTED) : this.shown.length;
    const seen = Math.ceil(Math.max(this.box.clientHeight, LEAST_SEEN) / ROW_HEIGHT);
    const top = Math.floor(this.box.scrollTop / ROW_HEIGHT);
    const first = this.printing ? 0 : Math.max(0, top - SPARE_ROWS);
    const last = this.printing ? all : Math.min(all, top + seen + SPARE_ROWS);
    const drawn = `${first}-${last}-${this.printing}`;
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    const rows = this.shown.slice(first, last).map((index, place) => this.row(this.rows[index], first + place));
    if (!all) rows.push(element("tr", {}, element("td", { class: "none", colspan: this.columns.length }, "None found.")));
    if (all < this.shown.length) {
      const text = `${whole(this.shown.length - all)} more are not printed.`;
      rows.push(element("tr", {}, element("td", { class: "none", colspan: this.columns.length }, text)));
    }
    this.body.replaceChildren(...this.spacer(first), ...rows, ...this.spacer(this.printing ? 0 : all - last));
  }

  row(row, place) {
    return element("tr", { "aria-rowindex": place + 2 }, ...this.columns.map((column) => {
      const cell = element(column.first ? "th" : "td", { scope: column.first ? "row" : null, class: column.class || (column.number ? "number" : null) });
      column.cell(cell, row);
      return cell;
    }));
  }

  spacer(rows) {
    if (rows <= 0) return [];
    const made = element("tr", { class: "spacer", "aria-hidden": "true" }, element("td", { colspan: this.columns.length }));
    made.style.height = made.firstChild.style.height = `${rows * ROW_HEIGHT}px`;
    return [made];
  }

  print(printing) {
    this.printing = printing;
    this.drawn = null;
    this.draw();
  }
}
