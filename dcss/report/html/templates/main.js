// Build the page's tables and pictures from its data.

(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const sets = new GuestSets(data.sets, data.guests.name), files = fileRows(data.files), parts = [];
  let picture = null;
  if (at("guests-table")) parts.push(guestTable(at("guests-table"), data.guests));
  if (at("pages") && data.segments.length) parts.push(picture = new SegmentPicture(at("pages"), data, data.segments, files, sets));
  if (at("uses-table") && data.uses) parts.push(usesTable(at("uses-table"), data.uses, data.guests.name, data.page_bytes));
  if (at("files-table")) parts.push(fileTable(at("files-table"), files, sets, data.page_bytes, picture && ((row) => picture.mark(row.index))));
  startTheme(() => picture && picture.draw());
  addEventListener("beforeprint", () => parts.forEach((part) => part.print(true)));
  addEventListener("afterprint", () => parts.forEach((part) => part.print(false)));
})();
