from __future__ import annotations

import pytest

from svcport.errors import FailedError, Reason
from svcport.transport.port import open_port


@pytest.mark.parametrize(
    "name",
    ["socket://[::1", "socket://:x", "socket://host:99999", "hwgrep://[", "spy://", "bogus://x"],
)
def test_a_port_whose_name_means_nothing_is_no_lock(name: str) -> None:
    with pytest.raises(FailedError) as caught:
        open_port(name)
    assert caught.value.reason is Reason.NO_LOCK
