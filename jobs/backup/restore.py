"""Putting a backup in place: checked whole before anything is touched, and quarantined before anybody can use it.

Signer's records first, wallets next, the database last: without it nothing works, so that a restore that was cut off
half-way has done no harm, and is simply run again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import migrations
from jobs.backup import copying, make, manifest, quarantine
from jobs.backup.manifest import Manifest
from jobs.row_mac import RowMac
from jobs.signer.entries import Head
from jobs.signer.record import FILE, Record
from ledger.crashpoint import crashpoint
from ledger.errors import InvalidInput, StateConflict
from settings import Settings
from wallets import registry

SURVIVED, RESTORED = "survived", "restored"


@dataclass(frozen=True)
class PutBack:
    """What was done. `records` is by chain whether the signer's record is of now (`survived`) or of the backup."""

    manifest: Manifest
    records: Mapping[str, str]
    wallets: Mapping[str, bool]  #: chain -> whether its files were put back; False: a wallet lay there already


def check(settings: Settings, folder: Path) -> Manifest:
    """Whether a backup is whole, and one that this program and these settings can take. Raises `InvalidInput`."""
    found = manifest.read(folder, RowMac(make.mac_key(settings)))
    if found.schema != migrations.head():
        detail = f"the backup's database is at version {found.schema}, this program needs {migrations.head()}"
        raise InvalidInput("/folder", f"{detail}: restore it with the program that made it, then upgrade")
    if found.mode != settings.mode:
        raise InvalidInput("/folder", f"the backup is of mode {found.mode}, COFFER_MODE is {settings.mode}")
    wanted = "sqlite" if settings.database_url.get_secret_value().startswith("sqlite") else "mariadb"
    if found.dialect != wanted:
        raise InvalidInput("/folder", f"the backup is of {found.dialect}, COFFER_DATABASE_URL is of {wanted}")
    return found


def restore(settings: Settings, folder: Path, actor: str, skip: int = quarantine.SKIP) -> PutBack:
    """Put everything in place where nothing is. Raises `InvalidInput` and `StateConflict` with what is in the way,
    before anything was changed where that is possible; it may be run again."""
    found = check(settings, folder)
    newer = _check_records(settings, found)
    copying.check_empty(settings.database_url.get_secret_value())
    _put_back_records(settings, folder, found)
    crashpoint("restore.records")
    wallets = {}
    for place in sorted((folder / make.WALLETS).glob("*")):
        wallets[place.name] = registry.wallet_files(place.name, settings).put_back(place)
        crashpoint("restore.wallet")
    records = {chain: _record_of(settings, chain, newer) for chain in registry.chains()}
    begun = quarantine.Beginning(found.backup_id, found.taken_at, records, actor, skip)
    books = {chain: registry.address_book(chain, settings) for chain in registry.chains()}
    url = settings.database_url.get_secret_value()
    copying.put_back(url, folder, lambda tx: quarantine.begin(tx, begun, books))
    return PutBack(found, records, wallets)


def _check_records(settings: Settings, found: Manifest) -> Mapping[str, bool]:
    """By place whether the record that lies there goes on where the backup's ends. One that is missing is put back; one
    that is empty was made by a worker that started too early; one that is older, or another, is refused."""
    if found.records and settings.signer_dir is None:
        raise InvalidInput("/COFFER_SIGNER_DIR", "is needed: the backup holds a signer's record")
    there = make.records_below(settings.signer_dir)
    newer = {}
    for place, (count, hash_) in found.records.items():
        if place not in there:
            newer[place] = False
            continue
        record = Record.open(there[place])
        head = _head(record)
        if head.count and record.hash_at(count) != hash_:
            detail = f"has {head.count} entries and does not contain the {count} of the backup: it is older, or another"
            raise StateConflict(
                f"the signer's record in {there[place]} {detail}. With it, what was signed is not known"
            )
        if faults := record.faults() if head.count else []:
            raise StateConflict(f"the signer's record in {there[place]} is broken: {faults[0]}")
        newer[place] = head.count > count
    return newer


def _head(record: Record) -> Head:
    """How far it goes. A file in which there is nothing yet is of a start, or a restore, that was cut off: empty."""
    with record.reading() as view:
        return Head() if view.first("SELECT 1 FROM sqlite_master") is None else view.head()


def _record_of(settings: Settings, chain: str, newer: Mapping[str, bool]) -> str:
    """A record that ends where the backup's ends may be the backup's: nobody can tell what was signed since."""
    there = make.records_below(settings.signer_dir)
    records = {place: Record.open(folder) for place, folder in there.items()}
    own = [place for place, record in records.items() if _head(record).count and record.since(0, chain)]
    return SURVIVED if own and all(newer.get(place, False) for place in own) else RESTORED


def _put_back_records(settings: Settings, folder: Path, found: Manifest) -> None:
    for place in found.records:
        assert settings.signer_dir is not None
        target = settings.signer_dir / place
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (target / FILE).exists() and _head(Record.open(target)).count:
            continue
        for lying in target.glob(f"{FILE}*"):
            lying.unlink()
        copying.copy_sqlite(folder / make.RECORDS / place / FILE, target / FILE)
