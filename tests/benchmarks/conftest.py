from __future__ import annotations

import sys
from pathlib import Path

# the benchmarks are scripts that import each other, not a package
sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
