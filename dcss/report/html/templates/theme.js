// Colours: the system's choice, or the reader's, which is kept where the browser lets a file keep anything.

function startTheme(onchange) {
  const key = "dcss-report-theme", inputs = [...document.querySelectorAll("#theme input")];
  const set = (theme) => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    for (const input of inputs) input.checked = input.value === theme;
    onchange();
  };
  let kept = null;
  try { kept = localStorage.getItem(key); } catch { /* a browser may refuse it to files */ }
  if (kept === "light" || kept === "dark") set(kept);
  for (const input of inputs) input.addEventListener("change", () => {
    set(input.value);
    try { localStorage.setItem(key, input.value); } catch { /* as above */ }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", onchange);
}
