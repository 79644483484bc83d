// Numbers with units as dcss prints them, and elements. Text only ever goes in as text.

const UNKNOWN = "n/a";

function bytes(size) {
  if (size === null || size < 0) return UNKNOWN;
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (size >= 1023.95 && unit < units.length - 1) {
    size /= 1024;
    unit++;
  }
  return unit === 0 ? `${size} B` : `${size.toFixed(1)} ${units[unit]}`;
}

// One unit for a whole column, so that its numbers stand below each other.
function mebibytes(size) {
  if (size === null || size < 0) return UNKNOWN;
  return (size / 1048576).toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
}

function whole(number) {
  return number === null || number < 0 ? UNKNOWN : number.toLocaleString("en-US");
}

function count(number, one, many) {
  return `${whole(number)} ${number === 1 ? one : many || one + "s"}`;
}

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function choice(label, options, onchange) {
  const select = element("select", { "aria-label": label }, ...options.map(([value, text]) => element("option", { value }, text)));
  select.addEventListener("change", () => onchange(select.value));
  return { label: element("label", {}, label, select), select };
}
