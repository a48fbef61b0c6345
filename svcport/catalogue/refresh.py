"""Take over a newer catalogue from a folder: python-tuf decides, the home changes at once or not.

The client keeps its memory in a folder, writes there file by file and makes a symbolic link, which
a home on a FAT stick cannot hold. It is given a scratch folder, seeded with everything this home
ever accepted; only when all of the new catalogue has been verified and copied, images included,
does the home's document change. A stick pulled half-way therefore leaves the old catalogue in use.
What a failed attempt saw is forgotten with it, which costs nothing: it was never acted on.

python-tuf reads the clock itself to judge expiry here; the `now` of the caller is judged as well.
"""

from __future__ import annotations

import tempfile
from datetime import datetime
from pathlib import Path
from urllib import parse

from tuf.ngclient.updater import Updater

from svcport.catalogue.faults import TUF_ERRORS, CatalogueError, image_fault, source_fault
from svcport.catalogue.fetcher import SCHEME, DirFetcher
from svcport.catalogue.files import exclusive, write_whole
from svcport.catalogue.release import Target
from svcport.catalogue.store import Store, matches, not_set_up
from svcport.catalogue.trusted import (
    Bundle,
    Trusted,
    delegations_of,
    judge,
    read_targets,
    root_version,
)
from svcport.errors import Reason, RefusedError


def refresh(store: Store, source: Path, *, now: datetime, root: bytes | None = None) -> Trusted:
    """Bring the home's catalogue up to what `source` holds.

    Args:
        store: of the home.
        source: a folder with `metadata/` and `targets/`.
        now: UTC; expired metadata is refused.
        root: the first root, for a home that has no catalogue yet; otherwise it must be the same
            again.

    Raises:
        RefusedError: `not-set-up`, `lock-identity`, `catalogue-expired`, `catalogue-rollback`,
            `image-signer` (too few trusted signatures), `image-hash` (a changed file).
        CatalogueError: the source is missing, mixed, damaged; or the home cannot be written.
        RecordsError: this home's own catalogue is damaged.
    """
    try:
        store.folder.mkdir(parents=True, exist_ok=True)
        with exclusive(store.lock_file):
            return _refresh_locked(store, source, now, root)
    except OSError as e:
        raise CatalogueError(
            f"cannot write the catalogue to {store.folder}: {e.strerror or e}",
            hint="check free space and permissions; the catalogue held before is unchanged",
        ) from e


def _refresh_locked(store: Store, source: Path, now: datetime, root: bytes | None) -> Trusted:
    before = store.bundle()
    known = store.judged(before) if before is not None else None
    bootstrap = _anchor(store.folder, before, root)
    with tempfile.TemporaryDirectory(prefix="svcport-", ignore_cleanup_errors=True) as scratch:
        staging = Path(scratch)
        _seed(staging, before)
        updater, bundle = _update(staging, source, bootstrap)
        trusted = _judge_new(bundle, source, now)
        for target in trusted.files:
            if not store.holds(target):
                data = _fetched(updater, target, staging, source)
                write_whole(store.target_file(target.sha256), data)
        _read_advisories(store, trusted, source)
    if bundle != before:
        store.save(bundle)
    store.forget_all_but((*trusted.files, *(known.files if known is not None else ())))
    return trusted


def _anchor(folder: Path, before: Bundle | None, root: bytes | None) -> bytes:
    if before is None:
        if root is None:
            raise not_set_up(folder)
        return root
    if root is not None and root != before.roots[0]:
        raise RefusedError(
            Reason.LOCK_IDENTITY,
            "this home trusts the catalogue of another vendor",
            hint="choose another folder with --home for this vendor",
        )
    return before.roots[0]


def _seed(staging: Path, before: Bundle | None) -> None:
    """Lay out what was accepted before as python-tuf keeps it, so that it refuses the older."""
    history = staging / "root_history"
    history.mkdir(parents=True)
    if before is None:
        return
    for version, data in enumerate(before.roots, root_version(before.roots[0])):
        (history / f"{version}.root.json").write_bytes(data)
    named = (("timestamp", before.timestamp), ("snapshot", before.snapshot))
    for name, data in (*named, ("targets", before.targets), *before.roles):
        _role_file(staging, name).write_bytes(data)


def _update(staging: Path, source: Path, bootstrap: bytes) -> tuple[Updater, Bundle]:
    where = str(source)
    try:
        updater = Updater(
            metadata_dir=str(staging),
            metadata_base_url=f"{SCHEME}metadata/",
            target_base_url=f"{SCHEME}targets/",
            fetcher=DirFetcher(source),
            bootstrap=bootstrap,
        )
        updater.refresh()
        delegations = delegations_of(read_targets(_role_file(staging, "targets").read_bytes()))
        roles = delegations.roles or {}
        for role in roles.values():
            # asking for any path of a role makes the client load, verify and keep its metadata
            updater.get_targetinfo((role.paths or [role.name])[0].replace("*", "any"))
        return updater, _collect(staging, bootstrap, tuple(roles))
    except TUF_ERRORS as e:
        raise source_fault(e, where) from e


def _collect(staging: Path, bootstrap: bytes, roles: tuple[str, ...]) -> Bundle:
    roots = [bootstrap]
    version = root_version(bootstrap) + 1
    while (path := staging / "root_history" / f"{version}.root.json").exists():
        roots.append(path.read_bytes())
        version += 1
    return Bundle(
        roots=tuple(roots),
        timestamp=_role_file(staging, "timestamp").read_bytes(),
        snapshot=_role_file(staging, "snapshot").read_bytes(),
        targets=_role_file(staging, "targets").read_bytes(),
        roles=tuple((name, _role_file(staging, name).read_bytes()) for name in roles),
    )


def _judge_new(bundle: Bundle, source: Path, now: datetime) -> Trusted:
    try:
        trusted = judge(bundle)
    except TUF_ERRORS as e:
        raise source_fault(e, str(source)) from e
    except CatalogueError as e:
        raise _unusable(source, e) from e
    if now >= trusted.expires:
        raise RefusedError(
            Reason.CATALOGUE_EXPIRED,
            f"the catalogue at {source} expired at {trusted.expires:%Y-%m-%d %H:%M} UTC,"
            f" and it is {now:%Y-%m-%d %H:%M}",
            hint="get a fresh copy of the catalogue, and check this computer's clock",
        )
    return trusted


def _read_advisories(store: Store, trusted: Trusted, source: Path) -> None:
    """An advisory that cannot be read must stop this refresh, not every opening after it."""
    try:
        store.advisories(trusted)
    except CatalogueError as e:
        raise _unusable(source, e) from e


def _unusable(source: Path, error: CatalogueError) -> CatalogueError:
    hint = error.hint or "tell the vendor; the catalogue held before stays in use"
    return CatalogueError(f"the catalogue at {source} cannot be used: {error}", hint=hint)


def _fetched(updater: Updater, target: Target, staging: Path, source: Path) -> bytes:
    where = str(source)
    try:
        info = updater.get_targetinfo(target.path)
        if info is None:
            raise CatalogueError(f"the catalogue at {where} does not sign {target.path}")
        path = Path(updater.download_target(info, str(staging / "target")))
    except TUF_ERRORS as e:
        raise image_fault(e, where, target.path) from e
    data = path.read_bytes()
    if not matches(data, target):
        raise CatalogueError(f"the catalogue at {where} signs two files as {target.path}")
    return data


def _role_file(staging: Path, role: str) -> Path:
    """Where python-tuf keeps a role's metadata: the name is quoted as in a URL."""
    return staging / f"{parse.quote(role, '')}.json"
