"""On a real bitcoind: a deposit that had paid for an escrow leaves the chain, and `coffer explain` tells what became of
it. What it says stands in docs/operating.md, with short names for ids; COFFER_WRITE_DOCS=1 writes it there anew.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import explaining
from jobs import transfers
from jobs.explain import explain
from jobs.payment import resources
from ledger.db import Database, Tx
from ledger.schema import address, deposit
from tests import databases
from tests.chain.conftest import BitcoinRig
from tests.chain.test_flows import Shop
from tests.flows.escrow_desk import Desk
from wallets.protocol import Output

PAGE = Path(__file__).parents[2] / "docs" / "operating.md"
_PLACE = re.compile(r"(?P<head><!-- explain: (?P<name>[a-z]+) -->\n```text\n).*?(?P<tail>```\n)", re.DOTALL)
_ID = re.compile(r"\b([a-z]+)_[0-9a-f]{32}\b")
_TXID = re.compile(r"\b[0-9a-f]{64}\b")
_ADDRESS = re.compile(r"\bbcrt1[0-9a-z]+\b")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")
_EVENT = re.compile(r" \(evt_\d+, [^)]*\)")
_PRICE = re.compile(r"\bfee [\d.]+ BTC, rate \d+")  # what blocks were worth to a node that others have used before
_REFERENCE = re.compile(r"(reference: )[0-9a-f]{16}\b")


@pytest.fixture
def shop(rig: BitcoinRig, tmp_path: Path, server_folder: Path) -> Iterator[Shop]:
    database = Database(databases.sqlite_url(tmp_path, server_folder / "template.sqlite3"))
    yield Shop(tmp_path, database, rig)
    database.close()


def test_explain_follows_a_vanished_deposit_through_an_escrow(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine, rig = shop.engine, shop.rig
    shop.funded(900_000, deposits=3)  # coins of others, which pay withdrawals
    desk, third = Desk(engine), engine.account()
    escrow_id = desk.by_address(fee_ppm=20_000)
    txid = rig.pay(Output(engine.row(address, desk.row(escrow_id).address_id).address, 500_000))
    shop.mine(1)
    assert desk.state(escrow_id)[0] == "funded"
    desk.release(escrow_id)
    leave_alone(engine.rows(deposit)[-1].output_key, monkeypatch)
    row_id, payee = shop.withdraw(desk.vendor, 200_000)
    engine.tick()
    assert engine.state(row_id) == "broadcast"
    order = transfers.Order(desk.vendor, third, "BTC", 100_000, secrets.token_hex(8))
    desk.run(lambda tx: transfers.make(tx, engine.caller, order))
    before = rig.received(payee)

    rig.reorg(1, double_spent=txid)
    engine.tick()
    assert engine.balance(desk.buyer, "receivable") == 500_000
    assert (engine.available(desk.vendor), engine.available(third)) == (0, 0)
    assert rig.received(payee) == before == 200_000  # what is out is out, and is not paid again
    desk.check()
    told(engine.database, txid, "gone", capsys)

    rig.pay(Output(engine.address(desk.buyer).address, 600_000))
    shop.mine(1)
    assert (engine.balance(desk.buyer, "receivable"), engine.available(desk.buyer)) == (0, 100_000)
    assert (engine.available(desk.vendor), engine.available(third)) == (188_000, 100_000)
    desk.check()
    told(engine.database, txid, "settled", capsys)


def leave_alone(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Payments are made of other coins, so that the story does not depend on which ones the node would choose."""
    real = resources.unspendable
    monkeypatch.setattr(resources, "unspendable", lambda tx, chain: real(tx, chain) | {key})


def told(database: Database, txid: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is said of the deposit now is what the page shows under this name."""
    capsys.readouterr()

    def read(tx: Tx) -> None:
        explaining.show(explain(tx, txid), [])

    database.read(read)
    said = short(capsys.readouterr().out)
    if name == "settled":
        said = said[said.index("money\n") :]
    page = PAGE.read_text(encoding="utf-8")
    shown = {found["name"]: found for found in _PLACE.finditer(page)}
    assert name in shown, f"docs/operating.md has no place for {name}"
    if os.environ.get("COFFER_WRITE_DOCS"):
        start, end = shown[name].end("head"), shown[name].start("tail")
        PAGE.write_text(page[:start] + said + page[end:], encoding="utf-8")
        return
    assert said == page[shown[name].end("head") : shown[name].start("tail")]


def short(text: str) -> str:
    """Without moments, and with names that count up in place of ids, addresses and transactions."""
    names: dict[str, str] = {}
    counts: dict[str, int] = {}

    def named(kind: str, found: str) -> str:
        if found not in names:
            counts[kind] = counts.get(kind, 0) + 1
            names[found] = f"{kind}_{counts[kind]}"
        return names[found]

    text = _ID.sub(lambda m: named(m[1], m[0]), text)
    text = _TXID.sub(lambda m: named("txid", m[0]), text)
    text = re.sub(r"(txid_\d+):\d+", r"\1:n", text)  # which output of its payer's it is, is chance
    text = _ADDRESS.sub(lambda m: named("bcrt", m[0]), text)
    text = _REFERENCE.sub(r"\1…", text)
    text = _PRICE.sub("fee …, rate …", text)
    lines = _EVENT.sub("", _MOMENT.sub("", text)).splitlines()
    return "\n".join(line.rstrip() for line in lines if line.strip()) + "\n"
