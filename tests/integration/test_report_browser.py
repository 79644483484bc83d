"""A report in a real browser: it asks for nothing, sorts, filters, draws, and obeys keyboard, theme and printer."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from browser_support import Visit, browser, visit
from needs_support import needs
from playwright.sync_api import Browser
from report_support import (
    FIRST_FRAME,
    evidence_of,
    evidence_records,
    fleet_results,
    large_report,
    made_up_source,
    mapping,
    run_on_host,
    write_evidence,
)
from results_support import made_up_run

from dcss.report.html.fleet import fleet_evidence, fleet_source
from dcss.report.html.render import render_report
from dcss.report.html.source import ReportSource

pytestmark = needs("chromium")

GUESTS, FILES = "#guests-table", "#files-table"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    run = made_up_run()
    path.write_text(render_report(made_up_source(run), evidence_of(run)))
    return path


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "large.html"
    path.write_text(render_report(*large_report()))
    return path


@pytest.fixture
def seen(chromium: Browser, report: Path) -> Iterator[Visit]:
    with visit(chromium, report) as opened:
        yield opened
        assert opened.complaints == []
        assert opened.requests == [report.as_uri()]


def column(seen: Visit, table: str, number: int) -> list[str]:
    found = seen.texts(f"{table} tbody tr:not(.spacer) > *:nth-child({number})")
    return [text.replace("\n", "") for text in found]


def sorts(seen: Visit, table: str) -> list[str | None]:
    heads = seen.page.locator(f"{table} thead th[aria-sort]").all()
    return [f"{head.inner_text().split()[0]} {head.get_attribute('aria-sort')}" for head in heads]


def test_guests_sort_by_the_mouse(seen: Visit) -> None:
    assert column(seen, GUESTS, 1)[:2] == ["LINUX01", "LINUX02"]
    seen.page.get_by_role("button", name="Private MiB").click()
    private = [float(text) for text in column(seen, GUESTS, 4)]
    assert private == sorted(private, reverse=True)
    assert "Private descending" in sorts(seen, GUESTS)
    seen.page.get_by_role("button", name="Private MiB").click()
    assert [float(text) for text in column(seen, GUESTS, 4)] == sorted(private)
    assert "Private ascending" in sorts(seen, GUESTS)


def test_files_sort_and_filter_by_the_keyboard_alone(seen: Visit) -> None:
    page = seen.page
    page.locator(f"{FILES} input").focus()
    page.keyboard.type("LIBC.")
    assert column(seen, FILES, 1) == ["/usr/lib/libc.so.6"]
    assert seen.texts(f"{FILES} [role=status]") == ["1 of 6 files"]
    for _ in "LIBC.":
        page.keyboard.press("Backspace")
    assert len(column(seen, FILES, 1)) == 6
    for _ in range(3):  # the choice of states, the rows, the first column's title
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    names = column(seen, FILES, 1)
    assert names == sorted(names)
    page.keyboard.press("Space")
    assert column(seen, FILES, 1) == names[::-1]


def test_a_filter_without_a_match_says_so(seen: Visit) -> None:
    seen.page.locator(f"{FILES} input").fill("no such file")
    assert column(seen, FILES, 1) == ["None found."]
    assert seen.texts(f"{FILES} [role=status]") == ["0 of 6 files"]


def test_files_filter_by_state(seen: Visit) -> None:
    seen.page.locator(FILES).get_by_label("State").select_option("0")
    assert column(seen, FILES, 1) == ["None found."]
    seen.page.locator(FILES).get_by_label("State").select_option("1")
    assert len(column(seen, FILES, 1)) == 6


def test_pages_are_explored_by_the_keyboard(seen: Visit) -> None:
    page = seen.page
    page.get_by_role("application", name="Pages of segment LIB").focus()
    assert "metadata or free" in seen.texts(".detail")[0]
    assert "nobody" in seen.texts(".detail")[0]
    page.keyboard.press("n")
    assert "libc.so.6" in seen.texts(".detail")[0]
    assert "8 guests: LINUX01 to LINUX08" in seen.texts(".detail")[0]
    page.keyboard.press("ArrowRight")
    assert re.search(r"Page\s+65 \(at 260.0 KiB\)", seen.texts(".detail")[0])
    page.keyboard.press("End")
    assert "libz.so.1.2.13" in seen.texts(".detail")[0]
    page.keyboard.press("Home")
    assert re.search(r"Page\s+0 \(at 0 B\)", seen.texts(".detail")[0])


def test_pages_are_drawn_and_redrawn_for_another_view(seen: Visit) -> None:
    def picture() -> str:
        seen.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return str(seen.evaluate("() => document.querySelector('.picture canvas').toDataURL()"))

    by_guests = picture()
    seen.page.get_by_label("Show").select_option("files")
    by_files = picture()
    seen.page.get_by_label("Show").select_option("one")
    seen.page.get_by_label("Guest", exact=True).select_option("BASE01")
    assert len({by_guests, by_files, picture()}) == 3


def test_the_picture_is_a_table_too(seen: Visit) -> None:
    seen.page.get_by_text("The same as a table of runs").click()
    rows = seen.texts("#pages details tbody tr")
    assert len(rows) == 7
    assert rows[1].split()[:4] == ["64", "4,000", "15.63", "8"]


def test_a_file_is_shown_in_the_picture(seen: Visit) -> None:
    seen.page.get_by_role("button", name="libssl.so.3").click()
    assert "/usr/lib/libssl.so.3" in seen.texts(".detail")[0]
    assert seen.evaluate("() => document.activeElement.getAttribute('role')") == "application"


def test_claims_unfold_by_the_keyboard(seen: Visit) -> None:
    seen.page.locator("#claims summary").first.focus()
    seen.page.keyboard.press("Enter")
    assert "compare frames[i]" in seen.texts("#claims details[open]")[0]


def background(seen: Visit) -> str:
    return str(seen.evaluate("() => getComputedStyle(document.body).backgroundColor"))


def test_the_theme_follows_the_system_until_the_reader_chooses(chromium: Browser, report: Path) -> None:
    with visit(chromium, report, scheme="dark") as seen:
        dark = background(seen)
        seen.page.get_by_label("Light", exact=True).focus()
        seen.page.keyboard.press("Space")
        light = background(seen)
        assert light != dark
        seen.page.emulate_media(color_scheme="light")
        seen.page.get_by_label("Auto", exact=True).check(force=True)
        assert background(seen) == light
        seen.page.emulate_media(color_scheme="dark")
        assert background(seen) == dark


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_contrast_with_what_they_stand_on(
    chromium: Browser, report: Path, scheme: Literal["light", "dark"]
) -> None:
    script = """() => {
      const probe = document.body.appendChild(document.createElement("i"));
      const light = (name) => {
        probe.style.color = `var(--${name})`;
        const parts = getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
        const [r, g, b] = parts.map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
      };
      return PAIRS.map(([a, b]) => [light(a), light(b)]).map(([x, y]) => Math.max(x / y, y / x));
    }"""
    texts = [(ink, ground) for ink in ("ink", "soft", "link", "good", "bad", "doubt") for ground in ("bg", "card")]
    texts += [("good", "good-bg"), ("bad", "bad-bg"), ("doubt", "doubt-bg"), ("ink", "hover"), ("soft", "hover")]
    graphics = [(each, "card") for each in ("shared", "private", "copies", "cursor", "scale-6", "focus")]
    with visit(chromium, report, scheme=scheme) as seen:
        for pairs, least in ((texts, 4.5), (graphics, 3.0)):
            found = seen.evaluate(script.replace("PAIRS", str([list(pair) for pair in pairs])))
            assert [pair for pair, ratio in zip(pairs, found, strict=True) if ratio < least] == []


def test_every_control_has_a_name(seen: Visit) -> None:
    named = """() => [...document.querySelectorAll("input, select, button, canvas, svg, [tabindex]")].filter((each) =>
      !each.closest("[aria-hidden=true]") && !each.ariaLabel && !(each.labels && each.labels.length)
      && !each.textContent.trim()).map((each) => each.outerHTML.slice(0, 80))"""
    assert seen.evaluate(named) == []
    assert seen.evaluate("() => document.querySelectorAll('h1').length") == 1


@pytest.mark.parametrize("width", [360, 768, 1280, 2200])
def test_no_window_is_too_narrow(chromium: Browser, report: Path, width: int) -> None:
    with visit(chromium, report, width=width) as seen:
        assert seen.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


def test_print_has_all_rows_and_then_the_screen_is_as_before(chromium: Browser, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(render_report(*large_report(200, 20_000, 100)))
    with visit(chromium, path) as seen:
        before = len(seen.texts(f"{GUESTS} tbody tr"))
        seen.evaluate(
            "() => { window.printed = 0; addEventListener('beforeprint', () => { window.printed ="
            " document.querySelectorAll('#guests-table tbody tr').length; }); }"
        )
        content = seen.page.pdf(format="A4")
        assert content.startswith(b"%PDF")
        assert len(content) < 2_000_000  # patterns in each bar made it a hundred times larger
        assert seen.evaluate("() => window.printed") == 200
        assert len(seen.texts(f"{GUESTS} tbody tr")) == before
        assert seen.complaints == []


def test_a_thousand_guests_scroll_with_few_rows_in_the_page(chromium: Browser, large: Path) -> None:
    with visit(chromium, large) as seen:
        assert len(seen.texts(f"{GUESTS} tbody tr:not(.spacer)")) < 50
        seen.evaluate("() => { document.querySelector('#guests-table .rows').scrollTop = 15000; }")
        seen.wait_until("() => document.querySelector('#guests-table tbody').innerText.includes('LINUX0505')")
        assert len(seen.texts(f"{GUESTS} tbody tr:not(.spacer)")) < 50
        index = seen.page.locator(f"{GUESTS} tr", has_text="LINUX0505").get_attribute("aria-rowindex")
        assert index == "506"
        seen.page.locator(f"{FILES} input").fill("lib4999.")
        assert len(column(seen, FILES, 1)) == 1
        seen.page.get_by_role("application").focus()
        seen.page.keyboard.press("End")
        assert "99,999" in seen.texts(".detail")[0]
        assert seen.complaints == []


@pytest.mark.parametrize(
    "name", ["</script><script>throw 1</script>", "\udcff\udcfe.so", "<img src=x onerror=alert(1)>"]
)
def test_a_name_is_shown_and_not_obeyed(chromium: Browser, tmp_path: Path, name: str) -> None:
    source = made_up_source()
    assert source.verify is not None
    files = (replace(source.verify.files[0], path=f"/usr/{name}"),)
    path = tmp_path / "report.html"
    path.write_text(render_report(ReportSource(replace(source.verify, files=files, limits=(name,)), source.measure)))
    with visit(chromium, path) as seen:
        shown = "".join(column(seen, FILES, 1))
        assert shown == "/usr/" + name.replace("\udcff\udcfe", "\\377\\376")
        assert (seen.complaints, seen.requests) == ([], [path.as_uri()])


@pytest.mark.parametrize("part", ["verify", "measure"])
def test_a_part_alone_is_a_page_without_errors(chromium: Browser, tmp_path: Path, part: str) -> None:
    source = made_up_source()
    path = tmp_path / "report.html"
    alone = ReportSource(source.verify, None) if part == "verify" else ReportSource(None, source.measure)
    path.write_text(render_report(alone))
    with visit(chromium, path) as seen:
        assert seen.complaints == []
        assert seen.texts(".absent")


def test_guests_of_a_fleet_are_sorted_by_host(chromium: Browser, tmp_path: Path) -> None:
    path = tmp_path / "fleet.html"
    runs = {"b": run_on_host("b"), "a": run_on_host("a")}
    path.write_text(render_report(fleet_source(*fleet_results({**runs}, "verified"))))
    with visit(chromium, path) as opened:
        opened.page.locator(f"{GUESTS} thead button", has_text="Host").click()
        assert column(opened, GUESTS, 2) == sorted(name for name, run in runs.items() for _ in run.measure.guests)
        assert opened.complaints == []
        assert opened.requests == [path.as_uri()]


def test_the_picture_of_a_fleet_has_the_guests_of_the_host(chromium: Browser, tmp_path: Path) -> None:
    source = fleet_source(*fleet_results({"a": run_on_host("a"), "b": run_on_host("b")}, "verified"))
    for host in "ab":
        guests = {f"LINUX01{host}": [[mapping(0, range(FIRST_FRAME, FIRST_FRAME + 512))]]}
        write_evidence(tmp_path / f"web-{host}.json.gz", evidence_records(guests, 512, system=f"web-{host}"))
    path = tmp_path / "fleet.html"
    path.write_text(render_report(source, fleet_evidence(source, tmp_path)))
    with visit(chromium, path) as opened:
        opened.page.get_by_label("Show").select_option("one")
        for host in "ba":
            opened.page.get_by_label("Segment", exact=True).select_option(f"LIB on {host}")
            guests_shown = opened.texts("select[aria-label=Guest] option")
            assert guests_shown[0] == f"LINUX01{host}"
            assert {name[-1] for name in guests_shown} == {host}
            opened.page.get_by_role("application", name=f"Pages of segment LIB on {host}").focus()
            assert f"LINUX01{host}" in opened.texts(".detail")[0]
        assert opened.complaints == []
