from __future__ import annotations

import pytest
from smpserver import Device, DevicePort

from protocol.smp import SmpFraming
from protocol.smp_image import EraseSlot, ImageState, SetImageState
from protocol.smp_messages import Echo, Params, ParamsAre, Reset, SmpFault
from svcport.errors import Outcome, Reason
from svcport.locks.smp_errors import (
    NonsenseError,
    SilentDeviceError,
    SmpRefusedError,
    UnsupportedError,
)
from svcport.locks.smp_link import RAW_IDLE_S, SmpLink
from svcport.transport.port import LinkLostError

FRAMINGS = list(SmpFraming)


def link_to(device: Device) -> tuple[SmpLink, DevicePort]:
    port = DevicePort(device)
    return SmpLink(port, device.framing), port


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_question_gets_its_answer(framing: SmpFraming) -> None:
    link, _port = link_to(Device(framing))
    assert link.call(Params(), "state its buffers") == ParamsAre(1024, 1)
    assert 0.009 < link.round_trip_s < 0.011


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_lost_question_is_asked_again(framing: SmpFraming) -> None:
    link, port = link_to(Device(framing, mishaps={0: "lost"}))
    assert link.call(Params(), "state its buffers") == ParamsAre(1024, 1)
    assert port.device.said == ["params", "params"]


def test_a_raw_server_is_left_alone_after_a_loss_until_it_has_forgotten() -> None:
    link, port = link_to(Device(SmpFraming.RAW, mishaps={0: "lost"}))
    began = port.clock.time
    link.call(Params(), "state its buffers")
    assert port.clock.time - began >= RAW_IDLE_S


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_late_answer_counts_and_the_second_one_is_stale(framing: SmpFraming) -> None:
    link, port = link_to(Device(framing, mishaps={0: "late"}))
    assert link.call(Params(), "state its buffers", answer_s=3.0) == ParamsAre(1024, 1)
    asked = len(port.device.said)
    port.clock.sleep(10)
    link.listen(0.1)
    assert link.stale == asked - 1


def test_answers_with_foreign_numbers_are_dropped() -> None:
    link, _port = link_to(Device(mishaps={0: "stale"}))
    assert link.call(Params(), "state its buffers") == ParamsAre(1024, 1)
    assert link.stale == 1


def test_text_of_a_console_is_no_answer_and_is_kept() -> None:
    link, _port = link_to(Device(chatter=b"[00:01] <inf> app: hello\r\n"))
    long = Echo("x" * 300)
    link.transport.device.recovery = False  # type: ignore[attr-defined]  # it is a DevicePort
    assert link.call(long, "echo").r == "x" * 300
    assert b"<inf> app: hello" in link.text_since(0)


def test_what_must_not_happen_twice_is_not_asked_twice() -> None:
    link, port = link_to(Device(mishaps={0: "lost"}))
    with pytest.raises(SilentDeviceError) as caught:
        link.call(Reset(), "restart")
    assert port.device.said == ["reset"]
    assert caught.value.reason is Reason.LINK_LOST


def test_silence_ends_in_bounded_time() -> None:
    link, port = link_to(Device(mishaps=dict.fromkeys(range(20), "lost")))
    began = port.clock.time
    with pytest.raises(SilentDeviceError, match="asked to state its buffers"):
        link.call(Params(), "state its buffers")
    assert port.clock.time - began < 7
    assert port.device.said == ["params"] * 3


def test_chatter_without_end_does_not_keep_it_waiting() -> None:
    link, port = link_to(Device(mishaps=dict.fromkeys(range(20), "lost")))
    for tick in range(2000):
        port.say(b"noise \x06\x09 noise", tick * 0.01)
    with pytest.raises(SilentDeviceError):
        link.call(Params(), "state its buffers")


def test_a_device_without_the_command_refuses_and_does_not_fail() -> None:
    link, _port = link_to(Device())
    with pytest.raises(UnsupportedError) as caught:
        link.call(EraseSlot(), "erase a slot")
    assert caught.value.outcome is Outcome.REFUSED
    assert caught.value.fault == SmpFault(None, 8)


def test_a_refusal_has_its_words() -> None:
    no = {"err": {"group": 1, "rc": 8}}
    link, _port = link_to(Device(special=lambda name, _asked: no if name == "state" else None))
    with pytest.raises(SmpRefusedError, match="confirm an image: hash not found") as caught:
        link.call(SetImageState(bytes(32), confirm=True), "confirm an image")
    assert not isinstance(caught.value, UnsupportedError)
    assert caught.value.fault == SmpFault(1, 8)
    assert caught.value.outcome is Outcome.FAILED


def test_an_answer_that_is_none_is_nonsense() -> None:
    link, _port = link_to(Device(special=lambda _name, _asked: {"images": [{"slot": -1}]}))
    with pytest.raises(NonsenseError, match="slot is -1"):
        link.call(ImageState(), "list its images")


def test_a_port_that_is_gone_says_so() -> None:
    link, port = link_to(Device())
    port.lost = True
    with pytest.raises(LinkLostError):
        link.call(Params(), "state its buffers")


def test_lines_are_paced_once_a_long_message_was_lost_and_a_short_one_was_not() -> None:
    link, port = link_to(Device(burst=2, recovery=False))
    assert link.call(Echo("x" * 300), "echo").r == "x" * 300
    assert link.paced
    assert all(data.count(b"\n") <= 2 for data in port.written[2:])


def test_lines_are_not_paced_when_short_messages_are_lost_as_well() -> None:
    link, _port = link_to(Device(mishaps=dict.fromkeys(range(20), "lost"), recovery=False))
    with pytest.raises(SilentDeviceError):
        link.call(Echo("x" * 300), "echo")
    assert not link.paced


def test_numbers_run_round() -> None:
    link, _port = link_to(Device(SmpFraming.COBS))
    for _question in range(600):
        link.call(Params(), "state its buffers")
    assert link.stale == 0
