"""Coverage-guided fuzzing of every reader of outside bytes: python tests/fuzz (docs/fuzzing.md)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.campaign import Campaign, adopt, run
from fuzz.harnesses import HARNESSES


def main() -> int:
    """0 if nothing was found, 1 if something was, 2 if it could not be run."""
    args = _arguments()
    chosen = [HARNESSES[name] for name in args.only or HARNESSES]
    if args.seeds:
        for harness in chosen:
            harness.commit(harness.seeds())
        return 0
    if args.adopt:
        return adopt(chosen, args.adopt)
    campaign = Campaign(args.minutes, args.runs, args.jobs, args.keep, args.found)
    return run(chosen, campaign)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python tests/fuzz", description=__doc__)
    add = parser.add_argument
    add("--minutes", type=float, default=5.0, help="how long altogether, all cores at work (5)")
    add("--runs", type=int, help="stop a harness after so many executions")
    add(
        "--only",
        action="append",
        choices=sorted(HARNESSES),
        metavar="NAME",
        help="this one; repeat",
    )
    add("--jobs", type=int, help="processes at a time (one a core)")
    add("--keep", type=Path, help="folder of grown corpora, used again by the next run")
    add("--found", type=Path, default=Path("build/fuzz"), help="folder for what breaks something")
    add("--adopt", type=Path, help="commit the small inputs that a --keep folder has")
    add("--seeds", action="store_true", help="write the seeds into the corpus, and nothing more")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
