"""Makes one case cheap: every ledger of a process shares SQLAlchemy's compiled statements.

Opening a home makes an engine, and each engine compiles its statements anew; that was a fifth of a
case. Nothing but the compiled text is shared.
"""

from __future__ import annotations

import functools
from typing import Any

from sqlalchemy import Engine, create_engine

from svcport.audit import store

_first: list[Engine] = []


@functools.wraps(create_engine)
def _sharing(*arguments: Any, **options: Any) -> Engine:
    engine = create_engine(*arguments, **options)
    if not _first:
        _first.append(engine)
    first = _first[0]
    engine.dialect = engine.pool._dialect = first.dialect  # type: ignore[assignment]
    engine._compiled_cache = first._compiled_cache
    return engine


def share_compiled_statements() -> None:
    """For this process, from now on."""
    store.create_engine = _sharing  # type: ignore[assignment]
