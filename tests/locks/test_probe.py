from __future__ import annotations

import dataclasses
import random
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from clirunner import svcport
from fieldkit import lab, make_cable
from lab.kit import running
from locksim import Answering, Cable
from realfirmware import smpclient_sdist

from protocol.errors import MalformedMessageError
from protocol.frame import Frame, FrameDecoder, FrameType
from protocol.handshake import HelloReply
from protocol.messages import REQUESTS
from protocol.smp import SmpFraming, SmpHeader, SmpPacket, find_answer
from svcport.lab.folder import LabFolder
from svcport.locks.probe import UNIFORM, Finding, probe
from svcport.locks.stranger import NOT_OURS, plain_requests, smp_questions
from svcport.simulator.board import Board
from svcport.transport.port import LinkLostError

LIMIT_S = 15.0
FIXTURES = "tests/fixtures/smp-server"


@pytest.fixture
def cable() -> Cable:
    folder = lab("bad-update")
    return make_cable(folder, folder.serials[0], "P0")


def probed(cable: Cable) -> dict[str, Finding]:
    started = cable.clock.now()
    transport = cable.open()
    found = list(probe(transport))
    transport.close()
    assert cable.clock.now() - started < LIMIT_S
    assert len({one.name for one in found}) == len(found)
    return {one.name: one for one in found}


def probed_at(answer: Callable[[bytes], bytes]) -> dict[str, Finding]:
    return probed(Cable("P0", Answering(answer)))  # type: ignore[arg-type]


def results(found: dict[str, Finding]) -> dict[str, str]:
    return {name: one.result for name, one in found.items()}


CLOSED = {
    "port-unprompted": "pass",
    "port-smp": "pass",
    "port-console": "pass",
    "port-frames": "pass",
    "port-hello": "pass",
    "port-before-auth": "pass",
}


def test_a_lock_of_ours_passes_everything(cable: Cable) -> None:
    found = probed(cable)
    assert results(found) == CLOSED
    assert lab("bad-update").serials[0] in found["port-hello"].detail


def test_probing_a_lock_changes_nothing_that_it_keeps(cable: Cable) -> None:
    before = cable.board.core.state
    flash = bytes(cable.board._flash._buffer)
    probed(cable)
    assert cable.board.core.state == before
    assert bytes(cable.board._flash._buffer) == flash


def test_a_lock_can_be_probed_again_and_again(cable: Cable) -> None:
    for _ in range(3):
        assert results(probed(cable)) == CLOSED


def test_every_opcode_is_asked_and_no_changing_request_can_be_obeyed() -> None:
    records = list(plain_requests())
    assert {record[0] for record in records} == {*REQUESTS, *NOT_OURS}
    reads = {"Identify", "Slots", "Measure", "Battery", "SectorDigests", "ActStatus"}
    reads |= {"Events", "SelfTest"}
    for record in records:
        request = REQUESTS.get(record[0])
        if request is None or request.__name__ in reads:
            continue
        with pytest.raises(MalformedMessageError):
            request.parse(record[1:])


def test_the_uniform_refusal_is_what_a_lock_gives_without_auth(cable: Cable) -> None:
    assert UNIFORM.hex() == "01" + "01" + "00000000" + "0000"


def test_a_lock_that_tells_more_in_its_hello_is_a_fail() -> None:
    def answer(data: bytes) -> bytes:
        hellos = [f for f in FrameDecoder().feed(data) if f.type is FrameType.HELLO]
        body = HelloReply(1, 1).build() + b"AL-1 2.4.0"
        return b"".join(Frame(FrameType.HELLO_REPLY, 0, body).build() for _ in hellos)

    found = probed_at(answer)["port-hello"]
    assert found.result == "fail"
    assert "tells more" in found.detail


def test_a_lock_that_looks_at_requests_before_auth_is_a_fail(
    cable: Cable, monkeypatch: pytest.MonkeyPatch
) -> None:
    board, link = cable.board, cable.board._link
    known = SimpleNamespace(
        credential=SimpleNamespace(ops=0xFFFF, needs_ticket=lambda _op: False),
        hash=b"",
        head=board.core.state.head,
    )
    original = link._answer

    def careless(plaintext: bytes, session: object, now: float) -> object:
        session.facts = session.facts or known  # type: ignore[attr-defined]
        return original(plaintext, session, now)  # type: ignore[arg-type]

    monkeypatch.setattr(link, "_answer", careless)
    found = probed(cable)["port-before-auth"]
    assert found.result == "fail"
    assert "before anybody has proved" in found.detail
    assert found.cure


def test_a_lock_that_answers_unsealed_requests_is_a_fail() -> None:
    def answer(data: bytes) -> bytes:
        frames = [f for f in FrameDecoder().feed(data) if f.type is FrameType.CONTROL]
        return b"".join(Frame(FrameType.CONTROL_REPLY, 0, b"\0AL-1").build() for _ in frames)

    found = probed_at(answer)["port-frames"]
    assert found.result == "fail"
    assert "AL-1" in found.detail


def test_silence_shows_no_lock_and_nothing_open() -> None:
    assert results(probed_at(lambda _data: b"")) == {
        **{name: "pass" for name in CLOSED if name != "port-before-auth"},
        "port-hello": "unknown",
    }


def test_an_echo_is_a_fail_and_no_smp_server() -> None:
    found = probed_at(lambda data: data)
    assert results(found)["port-smp"] == "pass"
    assert results(found)["port-console"] == "fail"
    assert "sent back" in found["port-console"].detail
    assert results(found)["port-hello"] == "unknown"


def test_a_console_that_answers_keys_is_a_fail() -> None:
    found = probed_at(lambda data: b"\r\nuart:~$ " if b"\r" in data or b"\x03" in data else b"")
    assert results(found)["port-console"] == "fail"
    assert "CR LF answers '\\r\\nuart:~$ '" in found["port-console"].detail
    assert "Ctrl-C" in found["port-console"].detail
    assert "ESC" not in found["port-console"].detail


def test_a_port_that_talks_by_itself_is_a_fail_and_ends_in_time() -> None:
    class Chatty(Answering):
        def poll(self, _now: float) -> bytes:
            return b"*** Booting ***\r\n"

    found = probed(Cable("P0", Chatty(lambda _data: b"")))  # type: ignore[arg-type]
    assert found["port-unprompted"].result == "fail"
    assert found["port-smp"].result == "pass"


def test_a_port_of_noise_is_never_taken_for_smp() -> None:
    noise = random.Random(3)
    found = probed_at(lambda _data: noise.randbytes(400))
    assert results(found)["port-smp"] == "pass"
    assert results(found)["port-console"] == "fail"


@pytest.mark.parametrize("framing", list(SmpFraming))
@pytest.mark.parametrize(("echo", "what"), [(True, "an SMP server"), (False, "MCUboot")])
def test_an_smp_server_is_an_open_service_port_and_is_not_teased_further(
    framing: SmpFraming, echo: bool, what: str
) -> None:
    written: list[bytes] = []

    def answer(data: bytes) -> bytes:
        written.append(data)
        for question in smp_questions():
            if question.line_bytes(framing) != data:
                continue
            asked = question.packet.header
            payload = b"\xbf\x62rc\x08\xff"
            if echo and question.name == "echo":
                payload = b"\xbf\x61r\x67svcport\xff"
            header = SmpHeader(
                asked.first | 1, 0, len(payload), asked.group, asked.seq, asked.command
            )
            return SmpPacket(header, payload).framed(framing)
        return b""

    found = probed_at(answer)
    assert list(found) == ["port-unprompted", "port-smp"]
    assert found["port-smp"].result == "fail"
    assert f"open service port: {what}" in found["port-smp"].detail
    assert "boot firmware" in found["port-smp"].detail
    assert found["port-smp"].cure
    asked = [q.line_bytes(way) for q in smp_questions() for way in SmpFraming]
    assert set(written) <= {b"\n", *asked}


def test_a_port_that_is_pulled_while_probed_is_a_lost_link(cable: Cable) -> None:
    cable.cut_after = 300
    with pytest.raises(LinkLostError):
        list(probe(cable.open()))


def test_a_broken_handshake_is_a_fail(cable: Cable) -> None:
    folder = lab("bad-update")
    factory = dataclasses.replace(folder.lock(folder.serials[0]).factory(), certificate=b"\0" * 180)
    board = Board(factory, cable.board._flash, entropy=random.Random(5).randbytes, now=0.0)
    assert results(probed(Cable("P0", board)))["port-hello"] == "fail"


def test_doctor_over_tcp_passes_a_lock_and_exits_0(tmp_path: Path) -> None:
    folder = LabFolder(Path(shutil.copytree(lab("bad-update").root, tmp_path / "lab")))
    with running(folder.root, *folder.serials) as ports:
        [port] = ports.values()
        ran = svcport("--home", tmp_path / "home", "--json", "doctor", "--port", port)
    assert ran.code == 0
    checks = {one["name"]: one["result"] for one in ran.report["checks"]}
    assert {name: checks[name] for name in CLOSED} == CLOSED
    assert checks["port"] == "pass"


def test_doctor_names_a_port_that_cannot_be_opened(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    ran = svcport("--home", tmp_path, "--json", "doctor", "--port", f"socket://127.0.0.1:{port}")
    assert ran.code == 0
    [check] = [one for one in ran.report["checks"] if one["name"].startswith("port")]
    assert (check["name"], check["result"]) == ("port", "fail")


@contextmanager
def mcuboot(build: str, tmp_path: Path) -> Iterator[int]:
    """MCUboot with nothing to boot waits in serial recovery; gives its UART's TCP port."""
    program = shutil.which("qemu-system-arm")
    if program is None:
        pytest.skip("qemu-system-arm is not installed")
    [firmware] = (smpclient_sdist() / FIXTURES).glob(f"*mps2_an385_{build}.hex")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = int(server.getsockname()[1])
    chardev = f"socket,id=con,host=127.0.0.1,port={port},server=on,wait=off"
    log = tmp_path / "uart1.log"
    machine = subprocess.Popen(
        [
            *(program, "-cpu", "cortex-m3", "-machine", "mps2-an385", "-nographic"),
            *("-chardev", chardev, "-serial", "chardev:con", "-serial", f"file:{log}"),
            *("-monitor", "none", "-device", f"loader,file={firmware}"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _await_recovery(log, machine)
        yield port
    finally:
        machine.kill()
        machine.wait()


def _await_recovery(log: Path, machine: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        if log.exists() and b"serial recovery mode" in log.read_bytes():
            return
        with pytest.raises(subprocess.TimeoutExpired):
            machine.wait(0.1)
    pytest.fail("MCUboot did not enter its serial recovery")


@pytest.mark.parametrize("build", ["serial_recovery", "serial_recovery_raw"])
def test_a_real_mcuboot_recovery_is_reported_as_an_open_service_port(
    build: str, tmp_path: Path
) -> None:
    with mcuboot(build, tmp_path) as port:
        name = f"socket://127.0.0.1:{port}"
        ran = svcport("--home", tmp_path / "home", "--json", "doctor", "--port", name)
    assert ran.code == 0
    assert "open to strangers" in ran.report["message"]
    [smp] = [one for one in ran.report["checks"] if one["name"] == "port-smp"]
    assert smp["result"] == "fail"
    assert "open service port: MCUboot serial recovery" in smp["detail"]
    assert "image list" in smp["detail"]
    assert smp["cure"]


def test_the_answer_of_a_real_mcuboot_is_found_where_it_was_recorded() -> None:
    # what MCUboot's recovery says to echo: {"rc": 8}, SMP version 1
    [echo] = [q.packet for q in smp_questions() if q.name == "echo"]
    said = SmpPacket(
        dataclasses.replace(echo.header, first=3, length=6), bytes.fromhex("bf62726308ff")
    )
    found = find_answer(said.framed(SmpFraming.CONSOLE), echo)
    assert found == (SmpFraming.CONSOLE, said)


def test_a_slow_server_that_answers_one_question_late_is_found() -> None:
    late: list[bytes] = []

    def answer(data: bytes) -> bytes:
        said = late.pop() if late else b""
        for question in smp_questions():
            if question.line_bytes(SmpFraming.CONSOLE) == data:
                asked = question.packet.header
                header = SmpHeader(asked.first | 1, 0, 1, asked.group, asked.seq, asked.command)
                late.append(SmpPacket(header, b"\xa0").framed(SmpFraming.CONSOLE))
        return said

    assert results(probed_at(answer))["port-smp"] == "fail"
