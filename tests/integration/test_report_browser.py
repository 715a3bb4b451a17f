"""The pages in a real browser: no message on its console, every chart drawn, the crosshair alive, printable."""

import json
import shutil
import subprocess
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from tropism.web import flights_report, whatif_card

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no chromium on the path: install it to see the reports drawn"
    ),
]
SAMPLES = Path(__file__).parents[1] / "unit" / "web" / "samples.py"
PROBE = """
<script>
  const seen = [...document.querySelectorAll("svg[role=img]")].filter((each) => each.getBoundingClientRect().width > 0);
  const inner = (svg) => [...svg.querySelectorAll("path,rect,circle,line")].filter((each) => {
    const box = each.getBoundingClientRect(); return box.width + box.height > 0; }).length;
  const outside = (svg) => [...svg.querySelectorAll("text")].filter((each) => {
    const a = each.getBoundingClientRect();
    return a.left < -1 || a.right > document.documentElement.clientWidth + 1; }).map((each) => each.textContent);
  const chart = seen.find((each) => each.dataset.hover);
  const box = chart.getBoundingClientRect();
  chart.dispatchEvent(new PointerEvent("pointermove", {clientX: box.left + box.width / 2, clientY: box.top + 50, bubbles: true}));
  const tip = document.querySelector(".tip");
  const told = {
    charts: seen.length, shapes: seen.map(inner), labels: seen.map((each) => each.getAttribute("aria-label")),
    outside: seen.flatMap(outside), scroll: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    tip: tip ? tip.textContent : null, dots: chart.querySelectorAll(".at").length,
  };
  const out = document.createElement("pre"); out.id = "probe"; out.textContent = "PROBE" + JSON.stringify(told) + "END";
  document.body.append(out);
</script>"""


def samples():
    spec = spec_from_file_location("web_samples", SAMPLES)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=["flights", "card"])
def page(request):
    return {
        "flights": lambda: flights_report.render(samples().flights()),
        "card": lambda: whatif_card.render(samples().card()),
    }[request.param]()


def chromium(tmp_path, page, *options, width=1280):
    file = tmp_path / "page.html"
    file.write_text(page, encoding="utf-8")
    return subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},1000", "--enable-logging=stderr", *options, file.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip


@pytest.mark.parametrize("width", [1280, 760, 500])
def test_every_chart_is_drawn_and_nothing_is_said_on_the_console(tmp_path, page, width):
    ran = chromium(tmp_path, page, "--dump-dom", width=width)
    assert [line for line in ran.stderr.splitlines() if "CONSOLE" in line] == []
    open_page = page.replace("Content-Security-Policy", "X-None").replace("</body>", f"{PROBE}</body>")
    probed = chromium(tmp_path, open_page, "--dump-dom", width=width)
    told = json.loads(
        probed.stdout.split('<pre id="probe">PROBE')[1]
        .split("END</pre>")[0]
        .replace("&amp;", "&")
        .replace("&gt;", ">")
        .replace("&lt;", "<")
    )
    assert told["charts"] >= 3
    assert min(told["shapes"]) > 5
    assert all(told["labels"])
    assert told["outside"] == []
    assert told["scroll"] <= 0
    assert "Tropism" in told["tip"]
    assert told["dots"] >= 3


def test_the_console_is_watched(tmp_path, page):
    """A script that is not the page's own is refused, and says so where the test above looks."""
    ran = chromium(
        tmp_path, page.replace("</body>", "<script>document.title = 'broken'</script></body>"), "--dump-dom"
    )
    assert any("CONSOLE" in line and "Content Security Policy" in line for line in ran.stderr.splitlines())
    assert "<title>broken" not in ran.stdout


def test_it_prints(tmp_path, page):
    out = tmp_path / "page.pdf"
    chromium(tmp_path, page, f"--print-to-pdf={out}", "--no-pdf-header-footer")
    assert out.read_bytes().startswith(b"%PDF")
    assert out.stat().st_size > 20_000
