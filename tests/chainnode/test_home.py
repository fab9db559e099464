"""A node's home: made once, held by one process, closed to others."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chainnode.files import NotFound, UnsafeFile, read_file, write_file
from chainnode.home import Home, HomeExists, HomeInUse
from primitives.errors import InputError, StorageError, UsageError


def initialised(path: Path) -> Home:
    home = Home(path)
    home.create()
    write_file(home.config, b"")
    write_file(home.genesis, b"{}")
    return home


def test_new_home_is_closed_to_others(tmp_path: Path) -> None:
    home = initialised(tmp_path / "a" / "home")
    for directory in (home.root, home.keys, home.data):
        assert directory.stat().st_mode & 0o777 == 0o700
    home.check()


def test_home_is_not_initialised_twice(tmp_path: Path) -> None:
    home = initialised(tmp_path / "home")
    with pytest.raises(HomeExists, match="already initialised"):
        home.create()


def test_directory_with_other_things_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(HomeExists, match="not empty"):
        Home(tmp_path).create()
    file = tmp_path / "thesis.txt"
    with pytest.raises(HomeExists, match="not a directory"):
        Home(file).create()


def test_directory_that_is_no_home_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        NotFound, match=r"not a node's home: expected config/node\.toml; make one with `chainnode init`"
    ):
        Home(tmp_path).check()


def test_keys_that_others_can_enter_are_refused(tmp_path: Path) -> None:
    home = initialised(tmp_path / "home")
    home.keys.chmod(0o750)
    with pytest.raises(UnsafeFile, match="expected mode 0700, got 0750"):
        home.check()


def test_home_held_by_another_process_is_refused_naming_it(tmp_path: Path) -> None:
    home = initialised(tmp_path / "home")
    code = (
        "import sys; from pathlib import Path; from chainnode.home import Home\n"
        "with Home(Path(sys.argv[1])).lock(): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(home.root)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(HomeInUse, match=f"home already in use: got process {other.pid}"), home.lock():
            pass
        other.kill()
        other.wait()
        with home.lock():
            assert (home.data / "lock").read_text() == f"{os.getpid()}\n"


def test_lock_is_free_again_after_use(tmp_path: Path) -> None:
    home = initialised(tmp_path / "home")
    with home.lock():
        pass
    with home.lock():
        assert (home.data / "lock").read_text() == f"{os.getpid()}\n"


def test_paths_of_the_settings_start_at_the_home(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.resolve("data/x") == tmp_path / "data" / "x"
    assert home.resolve("/var/x") == Path("/var/x")


def test_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_file(path, b"one", mode=0o600)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(UsageError, match="exists already"):
        write_file(path, b"two", replace=False)
    assert path.read_bytes() == b"one"
    write_file(path, b"two")
    assert path.read_bytes() == b"two"
    assert [entry.name for entry in tmp_path.iterdir()] == ["f"]
    with pytest.raises(InputError, match="too large"):
        read_file(path, size_max=2)


def test_a_disk_that_takes_no_file_is_told_by_its_first_refusal_and_the_name_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    # A read-only file system refuses removing the file that it did not make, too.
    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(StorageError, match=f"^{tmp_path}/a: file cannot be written: got Read-only file system$"):
        write_file(tmp_path / "a", b"one")
