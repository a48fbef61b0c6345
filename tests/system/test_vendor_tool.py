from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from realfirmware import smpclient_sdist

from images import Image

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no pty on this platform")

FIRMWARE: Final = "examples/duts/nrf52840dk_nrf52840/ble/a_smp_dut.bin"
SERIAL: Final = "TR-100001"
VERSION: Final = "3.7.1+2026"
SVCPORT: Final = (sys.executable, "-m", "svcport", "--json")

Report = dict[str, Any]


class Station:
    """A technician's home and a port, driven through the command line."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def call(self, *words: str | Path) -> tuple[int, Report]:
        command = [*SVCPORT, "--home", str(self._home), *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100)
        return done.returncode, json.loads(done.stdout)

    def well(self, *words: str | Path) -> Report:
        code, report = self.call(*words)
        assert code == 0, report
        return report


def payload() -> bytes:
    """A Zephyr build for nRF52840 as its linker made it, without header and signature."""
    return Image.parse((smpclient_sdist() / FIRMWARE).read_bytes()).payload


def signed_by_imgtool(lab: Path, folder: Path) -> Path:
    source, image = folder / "zephyr.bin", folder / "zephyr.signed.bin"
    source.write_bytes(payload())
    key = lab / "vendor" / "image.pem"
    options = ["--version", VERSION, "--security-counter", 3]
    options += ["--header-size", 512, "--pad-header", "--slot-size", 0x70000]
    options += ["--custom-tlv", "0x00A0", "LX-200", "--custom-tlv", "0x00A1", "A,B"]
    options += ["--custom-tlv", "0x00A2", "2026-30,2026-31"]
    words = ["sign", "--key", key, *options, source, image]
    tool = [sys.executable, "-m", "imgtool.main", *map(str, words)]
    subprocess.run(tool, check=True, capture_output=True, timeout=60)
    return image


@contextlib.contextmanager
def on_a_pty(lab: Path) -> Iterator[str]:
    """The lab's lock as a serial device, which pyserial opens as one of its own."""
    command = [*SVCPORT, "lab", "run", str(lab), "--pty"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["port"]
        finally:
            process.terminate()


@pytest.mark.timeout(300)
def test_firmware_signed_by_the_vendors_tool_runs_on_a_lock_behind_a_serial_device(
    tmp_path: Path,
) -> None:
    lab, station = tmp_path / "lab", Station(tmp_path / "home")
    station.well("lab", "init", lab)
    station.well("setup", "--from", lab / "technician")
    image = signed_by_imgtool(lab, tmp_path)
    digest = Image.parse(image.read_bytes()).digest
    assert digest is not None
    assert station.well("image", "verify", image)["version"] == VERSION
    with on_a_pty(lab) as port:
        assert Path(port).is_char_device()
        lock = ("--port", port, "--expect-serial", SERIAL, "--case", "4711")

        code, refused = station.call("restore", "--image", image, *lock)
        assert (code, refused["reason"]) == (3, "no-permit")

        ticket = tmp_path / "restore.svc"
        issue = ("issuer", "ticket", lab / "vendor", "--lock", SERIAL, "--op", "restore")
        holder = ("--holder", lab / "technician", "--case", "4711")
        station.well(*issue, "--image", image, *holder, "-o", ticket)
        bring = ("restore", "--image", image, "--ticket", ticket, *lock)
        done = station.well(*bring)
        assert done["after"] == {"version": VERSION, "digest": digest.hex(), "confirmed": True}
        assert done["receipt"]["result"] == "done"
        assert done["transfer"]["image_bytes"] == len(image.read_bytes())
        assert station.well(*bring)["outcome"] == "nothing-to-do"

        code, judged = station.call("verify", *lock)
        assert code == 1
        results = {check["name"]: check["result"] for check in judged["checks"]}
        assert results.pop("in-catalogue") == "fail"
        # who signed is told of images that the catalogue holds; the lock itself checked this one
        assert results.pop("signed") == "unknown"
        assert set(results.values()) == {"pass"}, results
    held = station.well("audit", "verify")
    assert (held["entries"], held["receipts"], held["problems"]) == (2, 1, [])
    listed = station.well("audit", "list", "--case", "4711")["list"]
    assert {entry["image"] for entry in listed} == {digest.hex()[:16]}
