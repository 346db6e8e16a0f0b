"""Keys that are put back: whole or not at all, however often it takes."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ledger.errors import NodeNotReady
from wallets import files
from wallets.ethereum.files import EthereumFiles
from wallets.files import copy_private
from wallets.monero.files import MoneroFiles


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    folder = tmp_path / "backup"
    folder.mkdir()
    for name in ("seed", "wallet", "wallet.keys"):
        (folder / name).write_bytes(name.encode() * 100_000)
    return folder


def cut_off(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """The process ends in the middle of a file: of the one that comes after this many whole ones."""
    left = [after]

    def copy(read: Any, written: Any) -> None:
        left[0] -= 1
        if left[0] >= 0:
            return shutil.copyfileobj(read, written)
        written.write(read.read(1_000))
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "shutil", SimpleNamespace(copyfileobj=copy))


def test_a_seed_that_was_put_back_by_half_is_put_back_whole(
    backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = tmp_path / "keys" / "seed"
    with monkeypatch.context() as patch:
        cut_off(patch, 0)
        with pytest.raises(KeyboardInterrupt):
            EthereumFiles(seed).put_back(backup)
    assert not seed.exists()
    assert EthereumFiles(seed).put_back(backup)
    assert (seed.read_bytes(), [path.name for path in seed.parent.iterdir()]) == (b"seed" * 100_000, ["seed"])
    assert not EthereumFiles(seed).put_back(backup)


@pytest.mark.parametrize("after", [0, 1])
def test_a_monero_wallet_that_was_put_back_by_half_is_put_back_whole(
    backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    wallet: Any = MoneroFiles(SimpleNamespace(wallet="coffer"), tmp_path / "keys")  # type: ignore[arg-type]
    with monkeypatch.context() as patch:
        cut_off(patch, after)
        with pytest.raises(KeyboardInterrupt):
            wallet.put_back(backup)
    assert wallet.put_back(backup)
    assert (tmp_path / "keys" / "coffer").read_bytes() == b"wallet" * 100_000
    assert (tmp_path / "keys" / "coffer.keys").read_bytes() == b"wallet.keys" * 100_000
    assert len(list((tmp_path / "keys").iterdir())) == 2


def test_a_cache_of_another_wallet_is_not_taken_for_this_ones(backup: Path, tmp_path: Path) -> None:
    (tmp_path / "coffer").write_bytes(b"another")
    with pytest.raises(NodeNotReady, match="without its keys"):
        MoneroFiles(SimpleNamespace(wallet="coffer"), tmp_path).put_back(backup)  # type: ignore[arg-type]
    assert not (tmp_path / "coffer.keys").exists()


def test_a_copy_goes_over_nothing_and_is_its_owners_alone(backup: Path, tmp_path: Path) -> None:
    copy_private(backup / "seed", tmp_path / "seed")
    assert (tmp_path / "seed").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        copy_private(backup / "wallet", tmp_path / "seed")
    assert (tmp_path / "seed").read_bytes() == b"seed" * 100_000
