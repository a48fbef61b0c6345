"""How the lock's own code says no: one exception, turned into a Refusal at the dispatcher."""

from __future__ import annotations

from protocol.refusal import RefusalCode


class RefusedError(Exception):
    """The lock refuses, and has changed nothing.

    Attributes:
        code: why.
        detail: a number that belongs to the code, else 0.
    """

    def __init__(self, code: RefusalCode, detail: int = 0) -> None:
        super().__init__(code.name.lower().replace("_", " "))
        self.code = code
        self.detail = detail
