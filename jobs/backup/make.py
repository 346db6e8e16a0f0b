"""Making a backup while everything works, and the order in which its parts are copied.

The parts cannot be of one moment: they lie with different programs, and each goes on while the others are read. So the
question for each pair is which may be the newer one. The chain is part of none: it is always newer than all.

    1. database          decides what is owed, which index and which withdrawal comes next
    2. wallet files      must know every address that the database has given out, and hold what it has bound
    3. signer's record   must know every payment that the database has had signed
    4. marks, manifest   how far the database had come when all was copied

Database before wallet files: an address is made and stored by the wallet before the database shows it to anybody, a
coin is frozen by the wallet before the database owns it. A wallet file that is newer than its database has addresses
that nobody was given and locks that no payment owns: both are made good by themselves (`watch`, `relock`, `reserve`).
One that is older lacks addresses that people were given, and what was paid to them: it takes `recover` to find that.

Database before signer's record: a record that is newer refuses what the restored database would have signed a second
time, which is what it is there for. One that is older would let a withdrawal be signed again that was signed before,
as if that had never been. That is the one order in which money can be lost, so it is refused at every restore.

Keys do not change: any copy of a wallet file, or of the seed, holds all of them. Secrets of the settings (the row MAC
key, passphrases, the key of the seed file) are in no part: they are kept elsewhere, or the backup would be the money.

At a restore each part may all the same be of another time than the others (FAULTS J10). What is done about each:

    database older than chain   always so: payments out, deposits, nonces and indices of the time since are found on the
                                chain, and nothing is signed before (`jobs.backup.compare`)
    chain older than database   the node is still catching up, or was set back: nothing is compared, credited or signed
                                until it has reached the block that the database had read (`jobs.backup.compare`)
    wallet older than database  addresses are made anew, and the chain is read again for them (`ChainWallet.recover`)
    wallet newer than database  it survived: what it holds for payments that nobody knows is freed when it is needed;
                                whichever of the two payments confirms, the other cannot
    wallet of other keys        refused (`bootstrap.adopt`)
    record newer than database  it survived: what it knows and the database does not is told; it is not signed again
    record older than database  refused by its head (`jobs.backup.restore`), for whatever reason it is older
    record as old as database   it came from the backup: nobody knows what was signed since, and the chain shows only
                                what confirmed. Whatever was open goes to a person (`jobs.backup.lift`)
    parts of two backups        refused: each file has its hash in the manifest, and the manifest its MAC
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import select

import migrations
from jobs import bootstrap
from jobs.backup import copying, manifest, marks
from jobs.backup.manifest import Manifest
from jobs.row_mac import RowMac
from jobs.signer.record import FILE, Record
from ledger.crashpoint import crashpoint
from ledger.db import Database, Tx
from ledger.errors import InvalidInput
from ledger.ids import new_id
from ledger.schema import chain, installation
from settings import Settings
from wallets import registry

#: Places within a backup.
WALLETS, RECORDS = "wallets", "signer"


def make(settings: Settings, folder: Path, without: Collection[str] = ()) -> Manifest:
    """Copy all parts into this folder, which must be empty or absent. `without` chains leave their wallet files out.

    Raises `InvalidInput`, and what nodes raise. A folder without a manifest is no backup: it may be thrown away.
    """
    database = bootstrap.open_database(settings, pool_size=2)
    mac = RowMac(mac_key(settings))
    chains = [name for name in database.read(_with_wallet) if name not in without]
    _prepare(folder)
    taken = copying.save(database, folder)
    crashpoint("backup.database")
    for name in chains:
        _save_wallet(settings, name, folder)
        crashpoint("backup.wallet")
    records = _save_records(settings, folder)
    crashpoint("backup.records")
    found = _describe(database, settings, folder, taken, records, tuple(sorted(without)))
    found.write(folder, mac)
    return found


def _with_wallet(tx: Tx) -> list[str]:
    """The chains whose wallet this database knows; one that was never opened holds nothing."""
    query = select(chain.c.name).where(chain.c.account_public_key.is_not(None)).order_by(chain.c.name)
    return [row.name for row in tx.all(query)]


def patient(settings: Settings) -> Settings:
    """The settings for reading a chain anew: by whoever may ask a node for that, and for as long as it takes."""
    day = 86_400
    longer = {"bitcoin_rpc_timeout_seconds": day, "monero_rpc_timeout_seconds": day}
    return settings.model_copy(
        update=longer | {"bitcoin_rpc_url": settings.bitcoin_backup_rpc_url or settings.bitcoin_rpc_url}
    )


def mac_key(settings: Settings) -> bytes:
    if settings.row_mac_key is None:
        raise InvalidInput("/COFFER_ROW_MAC_KEY", "is needed: it seals the backup")
    return bytes.fromhex(settings.row_mac_key.get_secret_value())


def _prepare(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise InvalidInput("/folder", f"{folder} is not empty: each backup has a folder of its own")
    os.chmod(folder, 0o700)


def _save_wallet(settings: Settings, name: str, folder: Path) -> None:
    place = folder / WALLETS / name
    place.mkdir(mode=0o700, parents=True)
    registry.wallet_files(name, settings).save(place)
    for file in place.iterdir():
        os.chmod(file, 0o600)


def records_below(folder: Path | None) -> Mapping[str, Path]:
    """The signer's records in this folder and right below it, each by its place: workers may share one or not."""
    if folder is None or not folder.is_dir():
        return {}
    found = sorted(path for path in (folder / FILE, *folder.glob(f"*/{FILE}")) if path.is_file())
    return {path.parent.relative_to(folder).as_posix(): path.parent for path in found}


def _save_records(settings: Settings, folder: Path) -> dict[str, tuple[int, str]]:
    """Copy each record; the heads of the copies."""
    heads = {}
    for place, source in records_below(settings.signer_dir).items():
        target = folder / RECORDS / place
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        copying.copy_sqlite(source / FILE, target / FILE)
        head = Record.open(target).head()
        copying.fold(target / FILE)
        heads[place] = (head.count, head.hash)
    return heads


def _describe(
    database: Database,
    settings: Settings,
    folder: Path,
    taken: Mapping[str, Any],
    records: Mapping[str, tuple[int, str]],
    without: tuple[str, ...],
) -> Manifest:
    here = database.read(lambda tx: tx.one(select(installation)))
    return Manifest(
        backup_id=new_id("bk"),
        installation=here.public_id,
        mode=settings.mode,
        schema=migrations.head(),
        dialect="sqlite" if database.sqlite else "mariadb",
        taken_at=taken["now"],
        files=manifest.hashes(folder),
        marks=taken,
        marks_after=database.read(marks.read),
        records=records,
        without=without,
    )
