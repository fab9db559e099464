"""Profiles: folded stacks, what they cost by thread and function, and the picture of them."""

from __future__ import annotations

import os
import threading
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from bench import profile, sampling
from bench.flame import COLOURS, NARROWEST, boxes, flame, part_of, tree
from bench.profile import Profile, parse, write
from bench.sampling import Inside, short, why_not
from bench.stacks import LOOP, UNSEEN, by_thread, charged, fold, table, thread_name, thread_number, top, unfold, working

START = "thread (7): MainThread;main (chainnode/main.py:62);run (asyncio/runners.py:118);"
TEXT = f"""\
{START}parse (ledger/batches.py:90) 30
{START}parse (ledger/batches.py:90);decode (primitives/encoding.py:57) 50
{START}step (consensus/replica.py:12);step (consensus/replica.py:12) 20
{START}run_loop (loop.c:12);epoll_pwait (libc.so.6) 900
{START}run_loop (loop.c:12);uv_read (core.c:464) 10
thread (8): disk_0;_worker (concurrent/futures/thread.py:69);run (wal.py:5);sync (chainnode/wal.py:71) 7
thread (8): disk_0;_worker (concurrent/futures/thread.py:69) 500
thread (9): disk_1;_worker (concurrent/futures/thread.py:69) 500
"""
CPU_US = {7: 11.0, 8: 2.0, 9: 1.0, 10: 0.5}


def test_folded_text_reads_back_as_it_was_written() -> None:
    stacks = unfold(TEXT)
    assert unfold(fold(stacks)) == stacks
    assert sum(stacks.values()) == 2_017


def test_lines_that_say_the_same_count_together() -> None:
    assert unfold("a;b (x.py:1) 2\na;b (x.py:9) 3\n") == {("a", "b (x.py)"): 5}


@pytest.mark.parametrize("line", ["", "no weight", "a;b -3", "a;b 1.5", " 5"])
def test_what_is_no_folded_stack_is_refused_by_its_line(line: str) -> None:
    with pytest.raises(ValueError, match="line 2 is no folded stack"):
        unfold(f"a;b 1\n{line}\n")


def test_threads_of_one_pool_have_one_name() -> None:
    assert thread_name("thread (31400): MainThread") == LOOP
    assert thread_name("thread (31400): index_0") == thread_name("thread (4): index_12") == "index"
    assert thread_number("thread (31400): index_0") == 31_400
    assert thread_number("index_0") is None


def test_samples_of_threads_that_wait_and_frames_of_c_are_left_out() -> None:
    found = working(unfold(TEXT))
    assert sum(found.values()) == 30 + 50 + 20 + 10 + 7
    assert not [frame for stack in found for frame in stack if ".c" in frame or ".so" in frame]


def test_frames_that_all_stacks_of_a_thread_begin_with_are_left_out_but_for_the_last() -> None:
    loop = by_thread(working(unfold(TEXT)))[LOOP]
    assert {stack[0] for stack in loop} == {"run (asyncio/runners.py)"}
    assert by_thread({("thread (1): a", "only"): 3.0}) == {"a": {("only",): 3.0}}


def test_each_thread_is_charged_what_the_operating_system_counted() -> None:
    threads = charged(unfold(TEXT), CPU_US)
    told = {name: round(sum(stacks.values()), 6) for name, stacks in threads.items()}
    assert told == {LOOP: 11.0, "disk": 3.0, UNSEEN: 0.5}, "waiting threads keep what they used"
    shares = {stack[-1]: us for stack, us in threads[LOOP].items()}
    assert shares["decode (primitives/encoding.py)"] == pytest.approx(11.0 * 50 / 110)


def test_the_dearest_functions_come_first_and_recursion_counts_once() -> None:
    rows = top(by_thread(working(unfold(TEXT)))[LOOP], 3)
    assert [(row.name, row.own, row.total) for row in rows] == [
        ("decode (primitives/encoding.py)", 50, 50),
        ("parse (ledger/batches.py)", 30, 80),
        ("step (consensus/replica.py)", 20, 20),
    ]


def test_the_table_names_threads_and_functions() -> None:
    text = table(charged(unfold(TEXT), CPU_US), 2, "µs an event")
    assert "loop: 11.00 µs an event, 76% of all" in text
    assert "     5.00      5.00  45.5%  decode (primitives/encoding.py)" in text
    assert "step" not in text, "two functions a thread were asked for"


def test_boxes_stand_on_what_called_them() -> None:
    drawn = {box.frame.name: box for box in boxes(tree(charged(unfold(TEXT), CPU_US)))}
    caller, called = drawn["parse (ledger/batches.py)"], drawn["decode (primitives/encoding.py)"]
    assert called.row == caller.row + 1
    assert caller.left <= called.left
    assert called.left + called.width <= caller.left + caller.width + 1e-6
    assert called.width == pytest.approx(caller.width * 50 / 80)
    assert called.colour == COLOURS["primitives"]


def test_what_is_too_narrow_to_be_seen_is_left_out() -> None:
    stacks = {(f"f{number}",): 1.0 for number in range(5_000)}
    assert len(list(boxes(tree({"loop": stacks | {("wide",): 5_000.0}})))) == 3
    assert all(box.width >= NARROWEST for box in boxes(tree({"loop": stacks})))


def test_functions_are_coloured_by_the_part_of_the_project() -> None:
    assert part_of("parse_batch (ledger/batches.py)") == "ledger"
    assert part_of("SSLObject.read (ssl.py)") == part_of("no file") == "libraries"


def test_the_picture_is_a_small_xml_file_that_tells_every_box(tmp_path: Path) -> None:
    odd = charged(unfold('thread (7): MainThread;<module> (a & "b".py) 5\n'), {7: 3.0})
    found = Profile("batches", "batches: <bank-a> & others", unfold(TEXT), charged(unfold(TEXT), CPU_US) | odd)
    folded, picture = write(found, tmp_path / "new")
    assert unfold(folded.read_text()) == unfold(TEXT)
    root = ElementTree.fromstring(picture.read_text())
    titles = [title.text for title in root.iter("{http://www.w3.org/2000/svg}title")]
    assert '<module> (a & "b".py): 3.00 µs an event, 46.2%' in titles
    assert "batches: <bank-a> & others" in [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert flame({}, "nothing", "µs").count("<title>") == 0


def test_a_process_samples_its_other_threads_by_the_time_that_they_use() -> None:
    ending, sampler = threading.Event(), Inside()

    def burn() -> None:
        while not ending.is_set():
            sum(range(10_000))

    waiting, busy = threading.Thread(target=ending.wait, name="waits_0"), threading.Thread(target=burn, name="burns_0")
    for thread in (waiting, busy):
        thread.start()
    try:
        while sampler.sampled_us("burns_0") < 20_000:
            sampler.sample()
    finally:
        ending.set()
        waiting.join()
        busy.join()
    stacks = unfold(sampler.finish())
    burnt = {stack: us for stack, us in stacks.items() if stack[0].endswith("burns_0")}
    assert {thread_number(stack[0]) for stack in burnt} == {busy.native_id}
    assert any("burn (tests/bench/test_profile.py)" in frame for stack in burnt for frame in stack)
    assert sum(us for stack, us in stacks.items() if stack[0].endswith("waits_0")) < 5_000


def test_files_are_named_within_their_package() -> None:
    assert short(str(Path(sampling.__file__))) == "bench/sampling.py"
    assert short(os.__file__) == "os.py"
    assert short("<frozen runpy>") == "<frozen runpy>"


def test_where_py_spy_may_not_look_it_is_said_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forbidden = tmp_path / "py-spy"
    forbidden.write_text("#!/bin/sh\necho 'Permission Denied: Try running again with sudo' >&2\nexit 1\n")
    forbidden.chmod(0o755)
    monkeypatch.setattr(sampling, "PY_SPY", forbidden)
    assert why_not() == "Permission Denied: Try running again with sudo"
    monkeypatch.setattr(sampling, "PY_SPY", tmp_path / "absent")
    assert why_not() == "py-spy is not installed: run 'make setup'"


def test_a_workload_that_is_none_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(["batchs"])
    assert ended.value.code == 2
    assert "no workload 'batchs': choose from batches, lone" in capsys.readouterr().err
    assert parse([]).workloads == ["batches", "lone", "rpc-batch"]


def test_a_file_of_folded_stacks_is_told_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "old.folded").write_text(TEXT)
    assert profile.main(["--folded", str(tmp_path / "old.folded"), "--out", str(tmp_path)]) == 0
    assert "loop: 110.00 as sampled" in capsys.readouterr().out
    ElementTree.fromstring((tmp_path / "old.svg").read_text())
    (tmp_path / "bad.folded").write_text("what is this\n")
    assert profile.main(["--folded", str(tmp_path / "bad.folded")]) == 2
    assert "line 1 is no folded stack" in capsys.readouterr().err
