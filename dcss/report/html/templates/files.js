// The table of files.

function fileRows(files) {
  const columns = {};
  for (const key of ["directory", "segment", "pages", "checked", "frames", "shared", "set", "runs"]) columns[key] = decodeColumn(files[key]);
  return files.name.map((name, index) => {
    const directory = files.directories[columns.directory[index]];
    return { index, name, directory: directory === "/" ? "/" : directory + "/", segment: files.segments[columns.segment[index]],
      pages: columns.pages[index], checked: columns.checked[index], frames: columns.frames[index],
      shared: columns.shared[index], set: columns.set[index], runs: columns.runs[index] };
  });
}

const SHARED_TEXT = { "1": ["✓ shared", "state-yes"], "0": ["✗ not shared", "state-no"], "-1": ["– not used", ""] };

function fileTable(place, rows, sets, pageBytes, onfile) {
  const guests = (row) => sets.sizes[row.set];
  const saved = (row) => (row.shared === 1 ? Math.max(0, guests(row) - 1) * row.pages * pageBytes : 0);
  const number = (title, value, text = whole) => ({ title, number: true, value, cell: (cell, row) => cell.append(text(value(row))) });
  const columns = [
    { title: "File", first: true, wide: true, class: "path-cell", value: (row) => row.directory + row.name, cell: (cell, row) => {
      const base = onfile && row.runs > 0
        ? element("button", { type: "button", title: "Show its pages", onclick: () => onfile(row) }, row.name)
        : element("span", { class: "base" }, row.name);
      cell.append(element("span", { class: "path", title: row.directory + row.name }, element("span", { class: "dir" }, row.directory), base));
    } },
    { title: "State", value: (row) => row.shared, cell: (cell, row) => {
      const [text, kind] = SHARED_TEXT[row.shared];
      cell.append(element("span", { class: kind }, text));
    } },
    { title: "Segment", value: (row) => row.segment, cell: (cell, row) => cell.append(row.segment) },
    number("Size MiB", (row) => row.pages * pageBytes, mebibytes), number("Pages", (row) => row.pages),
    number("Checked", (row) => row.checked), number("Frames", (row) => row.frames), number("Guests", guests),
    number("Saved MiB", saved, mebibytes),
  ];
  if (rows.some((row) => row.runs >= 0)) columns.push(number("Runs", (row) => row.runs));
  const state = choice("State", [["", "all"], ["1", "shared"], ["0", "not shared"], ["-1", "not used"]],
    (value) => table.accept((row) => value === "" || row.shared === Number(value)));
  const table = new RowTable(place, {
    label: "Files of the segments", rows, columns, noun: "file", filterLabel: "Filter by path or segment",
    text: (row) => `${row.directory}${row.name} ${row.segment}`, controls: [state.label],
    sort: { column: columns.findIndex((column) => column.title === "Saved MiB"), descending: true },
  });
  return table;
}
