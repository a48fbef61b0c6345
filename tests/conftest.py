from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# A loaded machine is no reason to fail: properties have no deadline. In CI every run draws the
# same examples, so that a red run can be repeated.
settings.register_profile("local", deadline=None)
settings.register_profile(
    "ci", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ci" if os.environ.get("CI") else "local")
