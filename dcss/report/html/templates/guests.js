// Guests: their memory as stacked bars, and which segments each uses.

function guestRows(guests) {
  return guests.name.map((name, index) => {
    const [memory, shared, copies] = [guests.private[index], guests.shared[index], guests.copies[index]];
    return { index, name, host: guests.host && (guests.host[index] || UNKNOWN), engine: guests.engine[index], private: memory, shared, copies,
      total: memory === null || shared === null ? null : memory + shared };
  });
}

function stack(cell, row, longest) {
  const own = row.private === null ? 0 : row.private, copies = Math.min(row.copies || 0, own);
  const bar = element("div", { class: "stack", "aria-hidden": "true" });
  for (const [kind, size] of [["private", own - copies], ["copies", copies], ["shared", row.shared || 0]]) {
    if (!size) continue;
    const part = element("i", { class: kind, title: `${kind}: ${bytes(size)}` });
    part.style.width = `max(1px, ${(100 * size) / longest}%)`;
    bar.append(part);
  }
  cell.append(bar);
}

function guestTable(place, guests) {
  const rows = guestRows(guests);
  const longest = Math.max(1, ...rows.map((row) => (row.private || 0) + (row.shared || 0)));
  const figure = (title, key) => ({ title, number: true, value: (row) => row[key],
    cell: (cell, row) => cell.append(mebibytes(row[key])) });
  return new RowTable(place, {
    label: "Memory of the guests", rows, noun: "guest",
    filterLabel: guests.host ? "Filter by guest, host or engine" : "Filter by guest or engine",
    text: (row) => `${row.name} ${row.host || ""} ${row.engine || ""}`,
    columns: [
      { title: "Guest", first: true, value: (row) => row.name, cell: (cell, row) => cell.append(row.name) },
      ...(guests.host ? [{ title: "Host", value: (row) => row.host, cell: (cell, row) => cell.append(row.host) }] : []),
      { title: "Engine", value: (row) => row.engine || "", cell: (cell, row) => cell.append(row.engine || UNKNOWN) },
      { title: "Private, copies, shared", class: "bar-cell", cell: (cell, row) => stack(cell, row, longest) },
      figure("Private MiB", "private"), figure("of it copies MiB", "copies"),
      figure("Shared MiB", "shared"), figure("Total MiB", "total"),
    ],
  });
}

function usesTable(place, uses, names, pageBytes) {
  const columns = uses.pages.map(decodeColumn);
  const most = Math.max(1, ...columns.map((column) => column.reduce((a, b) => Math.max(a, b), 0)));
  const rows = names.map((name, index) => ({ name, index }));
  return new RowTable(place, {
    label: "Guests and the segments that they use", rows, noun: "guest", filterLabel: "Filter by guest",
    text: (row) => row.name,
    columns: [
      { title: "Guest", first: true, value: (row) => row.name, cell: (cell, row) => cell.append(row.name) },
      ...uses.segments.map((segment, at) => ({
        title: `${segment} MiB`, number: true, class: "number heat", value: (row) => columns[at][row.index],
        cell: (cell, row) => {
          const pages = columns[at][row.index];
          cell.append(pages ? mebibytes(pages * pageBytes) : "–");
          if (pages) cell.append(line(pages / most));
        },
      })),
    ],
  });
}

const SVG = "http://www.w3.org/2000/svg";

function line(part) {
  const svg = document.createElementNS(SVG, "svg"), rect = document.createElementNS(SVG, "rect");
  svg.setAttribute("aria-hidden", "true");
  rect.setAttribute("class", "shared");
  rect.setAttribute("height", "3");
  rect.setAttribute("width", `${(100 * part).toFixed(1)}%`);
  svg.append(rect);
  return svg;
}
