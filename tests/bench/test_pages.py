"""What the measurement of pages asks for, and when it says that a goal is missed."""

from __future__ import annotations

from bench.growth_reads import Drawn
from bench.pages import GOAL_BYTES, GOAL_PAGE_MS, GOAL_SEARCH_MS, _named_in, missed, pages
from rpc.explorer.mount import PAGES

DRAWN = Drawn(["ab" * 32], ["eb6305c9-1f7f-49de-ad70-16487c27b42d"], ["FTP-2026-06-000001"])


def test_every_page_of_the_explorer_is_measured() -> None:
    asked = {path.partition("?")[0].split("/")[1] for paths in pages(DRAWN).values() for path in paths}
    without_any = {"proposal", "inspection"}  # a filled store has none to show
    assert asked == {path.split("/")[1] for path, _, _ in PAGES} - without_any


def test_a_goal_is_missed_by_the_median_of_a_page_of_a_search_or_by_weight() -> None:
    good = {
        "overview": {"p50_ms": GOAL_PAGE_MS},
        "search event": {"p50_ms": GOAL_SEARCH_MS},
        "page_weight": {"all": GOAL_BYTES},
    }
    assert missed(good)["missed"] == ""
    for name in good:
        key = "all" if name == "page_weight" else "p50_ms"
        assert missed({**good, name: {key: good[name][key] + 1}})["missed"] == name


def test_what_a_page_loads_is_found_in_its_links_and_in_its_modules() -> None:
    html = '<link href="/static/1/css/a.css"><a href="/blocks"><script src="/static/1/js/b.mjs">'
    assert _named_in("/", html) == ["/static/1/css/a.css", "/static/1/js/b.mjs"]
    module = "import { a } from './c.mjs';\nimport x from '../verifier/d.mjs'; await import('../vendor/e.mjs')"
    found = ["/static/1/js/c.mjs", "/static/1/vendor/e.mjs", "/static/1/verifier/d.mjs"]
    assert _named_in("/static/1/js/b.mjs", module) == found
