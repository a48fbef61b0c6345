from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tuf.api.exceptions import DownloadError, DownloadHTTPError

from svcport.catalogue.faults import CatalogueError
from svcport.catalogue.fetcher import CHUNK_SIZE, DirFetcher
from svcport.catalogue.files import exclusive, write_whole


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    folder = tmp_path / "mirror"
    (folder / "metadata").mkdir(parents=True)
    (folder / "metadata" / "1.root.json").write_bytes(b"root")
    (tmp_path / "secret").write_bytes(b"secret")
    return folder


def fetch(mirror: Path, url: str) -> bytes:
    return DirFetcher(mirror).download_bytes(url, 1 << 20)


def test_a_file_comes_in_pieces_of_64_kib(mirror: Path) -> None:
    data = bytes(range(256)) * 600
    (mirror / "big").write_bytes(data)
    pieces = list(DirFetcher(mirror).fetch("dir:///big"))
    assert b"".join(pieces) == data
    assert [len(piece) for piece in pieces] == [CHUNK_SIZE, CHUNK_SIZE, len(data) - 2 * CHUNK_SIZE]


def test_a_missing_file_is_a_404(mirror: Path) -> None:
    for name in ("metadata/2.root.json", "nowhere/at/all", "metadata/1.root.json/x"):
        with pytest.raises(DownloadHTTPError) as caught:
            fetch(mirror, f"dir:///{name}")
        assert caught.value.status_code == 404
    with pytest.raises(DownloadHTTPError):
        fetch(mirror / "gone", "dir:///metadata/1.root.json")


@pytest.mark.parametrize(
    "url",
    [
        "dir:///../secret",
        "dir:///metadata/../../secret",
        "dir:///metadata/./1.root.json",
        "dir:////etc/passwd",
        "dir:///metadata\\..\\..\\secret",
        "dir:///C:/secret",
        "dir:///%2e%2e/secret",
        "dir:///metadata//1.root.json",
        "dir:///",
        "dir:///.hidden",
        "dir:///metadata/1.root.json\n",
        "dir:///metadata/1.root.json\0",
        "file:///etc/passwd",
        "metadata/1.root.json",
        "",
    ],
)
def test_a_path_that_leaves_the_mirror_is_refused_and_is_no_404(mirror: Path, url: str) -> None:
    with pytest.raises(DownloadError) as caught:
        fetch(mirror, url)
    assert not isinstance(caught.value, DownloadHTTPError)


@pytest.mark.skipif(os.name == "nt", reason="making symbolic links needs a privilege on Windows")
def test_a_link_out_of_the_mirror_is_refused_and_one_within_is_followed(mirror: Path) -> None:
    (mirror / "out").symlink_to(mirror.parent / "secret")
    (mirror / "up").symlink_to(mirror.parent)
    (mirror / "loop").symlink_to(mirror / "loop")
    (mirror / "within").symlink_to(mirror / "metadata" / "1.root.json")
    for name in ("out", "up/secret", "loop"):
        with pytest.raises(DownloadError):
            fetch(mirror, f"dir:///{name}")
    assert fetch(mirror, "dir:///within") == b"root"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_what_is_no_plain_file_is_refused_without_waiting(mirror: Path) -> None:
    os.mkfifo(mirror / "pipe")
    for name in ("pipe", "metadata"):
        with pytest.raises(DownloadError):
            fetch(mirror, f"dir:///{name}")


def test_a_file_is_replaced_whole_and_leaves_no_scraps(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    write_whole(path, b"old")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_keeps_the_old_file_and_leaves_no_scraps(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    (path / "full").mkdir(parents=True)
    with pytest.raises(OSError, match=r".+"):
        write_whole(path, b"new")
    assert list(tmp_path.iterdir()) == [path]


def test_a_held_lock_is_a_named_error_and_a_dead_holder_frees_it(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    code = (
        "import sys, pathlib\n"
        "from svcport.catalogue.files import exclusive\n"
        "with exclusive(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == b"held"
        with pytest.raises(CatalogueError, match="another process"), exclusive(lock, 0.05):
            pass
        holder.kill()
        holder.wait()
        with exclusive(lock, 5.0):
            pass
