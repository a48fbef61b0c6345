"""MCUboot's serial recovery in QEMU: the real boot loader, real images, the whole operations."""

from __future__ import annotations

from pathlib import Path

import pytest
from clirunner import svcport
from devicekit import Damage, board_image, damaged, mps2, ser2net
from stationkit import At, Station

from images import TrustStore, VerifiedImage, verify
from protocol.objects import EntryKind
from svcport.errors import Outcome, Reason, UnfinishedError
from svcport.locks.snapshot import LockKind
from svcport.operations import commands
from svcport.operations.devices import restore as restoring

pytestmark = pytest.mark.timeout(150)

EMPTY = b"\xff" * 64
TRIES = 3


def tried(station: Station, url: str, image: Path) -> Outcome:
    """How a restore ended; one that did not end well says that the new image does not run."""
    try:
        return station.restore(url, image).outcome
    except UnfinishedError as error:
        return error.outcome


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path)


def test_a_bricked_lock_is_restored_and_its_application_says_so(station: Station) -> None:
    good = board_image("mps2", "1.2.3")
    path = station.file("good.bin", good)
    corrupt = station.file("corrupt.bin", damaged(good, Damage.FLIP))
    home = ("--home", station.home.root)
    with mps2() as lock:
        words = ("--port", lock.url, "--serial", "A1234", *home, "--json")
        refused = svcport("restore", "--image", corrupt, *words)
        assert (refused.code, refused.report["reason"]) == (3, "image-hash")
        assert lock.slot(0)[:64] in (EMPTY, bytes(64))

        ran = svcport("restore", "--image", path, "--case", "4711", *words)
        lock.wait_for_log("Image version: v1.2.3")
        assert (ran.code, ran.report["outcome"]) == (0, "ok")
        digest = verify(good, TrustStore(), unsigned=True).digest.hex()
        assert ran.report["before"] == {"version": None, "digest": None, "confirmed": False}
        assert ran.report["after"] == {"version": "1.2.3+0", "digest": digest, "confirmed": True}
        assert ran.report["assurance"] == "unauthenticated-port"
        assert (ran.report["receipt"], ran.report["signer"]) == (None, None)
        assert ran.report["lock"]["kind"] == "zephyr-smp"
        assert ran.report["lock"]["serial"] == "A1234"

        assert svcport("verify", "--image", path, *words).code == 0
        again = svcport("restore", "--image", path, *words)
        assert (again.code, again.report["outcome"]) == (0, "nothing-to-do")
        expected = svcport("identify", "--port", lock.url, "--expect-serial", "A1", *home, "--json")
        assert (expected.code, expected.report["reason"]) == (3, "wrong-lock")
    assert svcport("audit", "verify", *home, "--json").code == 0
    kinds = [(one.kind, one.assurance, one.case_id) for one in station.entries()]
    assert kinds == [
        (EntryKind.INTENT, "unauthenticated-port", "4711"),
        (EntryKind.RESULT, "unauthenticated-port", "4711"),
    ]


def test_an_image_that_the_boot_loader_rejects_leaves_it_waiting_for_a_good_one(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = board_image("mps2", "1.2.3")
    path = station.file("good.bin", good)

    def unchecked(*_: object) -> VerifiedImage:
        image = verify(good, TrustStore(), unsigned=True)
        object.__setattr__(
            image, "data", damaged(good, Damage.FLIP)
        )  # no other way round the check
        return image

    with mps2() as lock:
        with monkeypatch.context() as patched:
            patched.setattr(restoring, "chosen_image", unchecked)
            error = station.stopped(commands.restore, lock.url, image=path)
        assert isinstance(error, UnfinishedError)
        assert (error.outcome, error.reason, error.boots) == (
            Outcome.FAILED,
            Reason.LOCK_REFUSED,
            None,
        )
        assert error.facts["lock"]["kind"] == LockKind.MCUBOOT_RECOVERY
        assert "Image in the primary slot is not valid" in lock.log()
        assert station.restore(lock.url, path).outcome is Outcome.OK
    assert station.verdict().problems == ()
    assert station.verdict().open_intents == ()


def test_a_reset_amid_the_upload_starts_it_anew_and_the_restore_ends_well(station: Station) -> None:
    path = station.file("good.bin", board_image("mps2", "1.2.3"))
    with mps2() as lock:
        report = station.restore(lock.url, path, progress=At(lock.reset, at_bytes=40_000))
        # the boot loader wants the image from its start again, and gets it
        assert report.outcome is Outcome.OK
        assert report.facts["transfer"]["resumed"]
        assert report.facts["transfer"]["wire_bytes"] > 160_000
    assert station.verdict().problems == ()


def test_a_connection_that_is_cut_amid_the_upload_leaves_recovery_for_the_next_try(
    station: Station,
) -> None:
    path = station.file("good.bin", board_image("mps2", "1.2.3"))
    with mps2() as lock:
        with ser2net(lock.url) as server:
            cut = At(server.cut, at_bytes=30_000)
            error = station.stopped(commands.restore, server.raw_url, image=path, progress=cut)
            assert isinstance(error, UnfinishedError)
            assert (error.reason, error.boots) == (Reason.LINK_LOST, None)
            server.start()
            # an emulated UART loses bytes when this computer is busy: then it is done once more
            outcomes = [tried(station, server.raw_url, path)]
            while outcomes[-1] is not Outcome.OK and len(outcomes) < TRIES:
                outcomes.append(tried(station, server.raw_url, path))
            assert outcomes[-1] is Outcome.OK
            assert set(outcomes[:-1]) <= {Outcome.FAILED}
        assert station.run(commands.verify, lock.url, image=path).outcome is Outcome.OK
    assert station.verdict().problems == ()


def test_an_older_image_gets_to_run_only_where_no_higher_version_outranks_it(
    station: Station,
) -> None:
    new, old = board_image("mps2", "2.0.0"), board_image("mps2", "0.9.0")
    path = station.file("old.bin", old)
    with mps2(image=board_image("mps2", "1.2.3"), second=new) as lock:
        assert (
            station.run(commands.identify, lock.url).facts["lock"]["slots"][1]["state"] == "running"
        )
        error = station.stopped(commands.restore, lock.url, image=path)
        assert error.reason is Reason.NOT_BOOTABLE
        error = station.stopped(commands.rollback, lock.url)
        assert error.reason is Reason.NO_OLDER_IMAGE
    with mps2(image=board_image("mps2", "1.2.3")) as lock:
        report = station.restore(lock.url, path)
        lock.wait_for_log("Image version: v0.9.0")
        assert report.facts["after"]["version"] == "0.9.0+0"
    assert station.verdict().problems == ()
