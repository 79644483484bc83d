"use strict";
// Decode what dcss.report.html.encode writes: LEB128 in base64, each number one more than it is, 0 for none (-1 here).

function decodeNumbers(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const numbers = [];
  let number = 0, factor = 1;
  for (const byte of bytes) {
    number += (byte & 0x7f) * factor;
    factor *= 128;
    if (byte < 0x80) {
      numbers.push(number - 1);
      number = 0;
      factor = 1;
    }
  }
  return numbers;
}

// Columns of which runs are shorter begin with "=".
function decodeColumn(text) {
  if (!text.startsWith("=")) return decodeNumbers(text);
  const numbers = [];
  for (const run of decodeRuns(text.slice(1))) for (let left = run.length; left > 0; left--) numbers.push(run.value - 1);
  return numbers;
}

// Return runs as {start, length, value}.
function decodeRuns(text) {
  const numbers = decodeNumbers(text), runs = [];
  for (let at = 0, start = 0; at < numbers.length; at += 2) {
    runs.push({ start, length: numbers[at], value: numbers[at + 1] });
    start += numbers[at];
  }
  return runs;
}

function spread(runs, pages) {
  const values = new Int32Array(pages);
  for (const run of runs) values.fill(run.value, run.start, run.start + run.length);
  return values;
}

// Sets of guests: sizes always, members where the page has them.
class GuestSets {
  constructor(encoded, names) {
    this.sizes = decodeNumbers(encoded.sizes);
    this.names = names;
    this.starts = null;
    if (encoded.ranges === null) return;
    this.numbers = decodeNumbers(encoded.ranges);
    this.starts = [];
    for (let at = 0; at < this.numbers.length; at += 1 + 2 * this.numbers[at]) this.starts.push(at);
  }

  // Return the ranges of a set as [first, last] places of guests, or null where they are not known.
  ranges(set) {
    if (this.starts === null) return null;
    const at = this.starts[set], found = [];
    for (let index = 0, place = 0; index < this.numbers[at]; index++) {
      place += this.numbers[at + 1 + 2 * index];
      const length = this.numbers[at + 2 + 2 * index];
      found.push([place, place + length - 1]);
      place += length;
    }
    return found;
  }

  has(set, place) {
    const ranges = this.ranges(set);
    return ranges !== null && ranges.some(([first, last]) => first <= place && place <= last);
  }

  describe(set) {
    if (this.sizes[set] === 0) return "nobody";
    const ranges = this.ranges(set);
    if (ranges === null) return `${count(this.sizes[set], "guest")} (too many combinations to name them)`;
    const shown = ranges.slice(0, 6).map(([first, last]) =>
      first === last ? this.names[first] : `${this.names[first]} to ${this.names[last]}`);
    const more = ranges.length > 6 ? " and others" : "";
    return `${count(this.sizes[set], "guest")}: ${shown.join(", ")}${more}`;
  }
}
