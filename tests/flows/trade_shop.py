"""A shop that calls the HTTP API of a two-chain engine."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from sqlalchemy import select

from api.app import create_app
from jobs import keys
from jobs.keys import Keyring
from ledger.db import Database
from ledger.money import format_units
from ledger.schema import account
from settings import Settings
from tests.api.shop import Shop
from tests.flows.engine import Engine
from tests.flows.trade_engine import ASSETS, TradeEngine

SECRET = "5a" * 32


class Refused(Exception):
    """An answer of 400 and above; `code` is what it says why."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        super().__init__(f"{status} {problem}")
        self.status = status
        self.code = str(problem["code"])


class TradeShop:
    """Amounts are atomic units; accounts are named by their public ids."""

    def __init__(self, engine: TradeEngine) -> None:
        self.engine = engine
        self.shop = shop_of(engine)

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        """The answer's body. Raises `Refused`."""
        answer = self.shop.post(f"/v1/{path}", body or None)
        if answer.status_code >= 400:
            raise Refused(answer.status_code, answer.json)
        found: dict[str, Any] = answer.json
        return found

    def get(self, path: str) -> dict[str, Any]:
        answer = self.shop.get(f"/v1/{path}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json
        return found

    def account(self) -> str:
        return self.shop.account()

    def funded(self, **units: int) -> str:
        """An account with these amounts, from credited deposits."""
        row_id = self.engine.funded_in(**units)
        query = select(account.c.public_id).where(account.c.id == row_id)
        return str(self.engine.database.read(lambda tx: tx.value(query)))

    def balance(self, name: str, code: str, kind: str = "available") -> int:
        query = select(account.c.id).where(account.c.public_id == name)
        row_id = self.engine.database.read(lambda tx: tx.value(query))
        return self.engine.balance(row_id, kind, code)

    def address(self, name: str, code: str) -> str:
        """A new address whose deposits are the account's to spend."""
        return str(self.post(f"accounts/{name}/addresses", asset=code)["address"])

    def transfer(self, giver: str, taker: str, code: str, units: int) -> dict[str, Any]:
        ends = {"from_account": giver, "to_account": taker}
        return self.post("transfers", **ends, asset=code, amount=text(units, code), reference=new_name())

    def withdraw(self, name: str, code: str, units: int, address: str) -> dict[str, Any]:
        body = {"account": name, "asset": code, "amount": text(units, code), "address": address}
        return self.post("withdrawals", **body, reference=new_name())

    def escrow(self, buyer: str, vendor: str, code: str, units: int, **terms: Any) -> dict[str, Any]:
        body = {"buyer": buyer, "vendor": vendor, "asset": code, "amount": text(units, code)}
        return self.post("escrows", **body, **({"reference": new_name()} | terms))

    def quote(self, sell: str, buy: str, *, sell_units: int = 0, buy_units: int = 0, **more: Any) -> dict[str, Any]:
        amount = {"sell_amount": text(sell_units, sell)} if sell_units else {"buy_amount": text(buy_units, buy)}
        return self.post("quotes", sell=sell, buy=buy, **amount, **more)

    def swap(self, quote: dict[str, Any], name: str, **terms: Any) -> dict[str, Any]:
        return self.post("swaps", quote=quote["id"], account=name, **({"reference": new_name()} | terms))


def shop_of(engine: Engine) -> Shop:
    """The API before an engine, and a key of its project that may do everything."""
    ring = Keyring(bytes.fromhex(SECRET), "test")
    app = create_app(engine.services, _settings(engine.database, engine.folder))
    wish = keys.Wish(name="shop", holder="shop", scopes=list(keys.SCOPES))
    project_id = engine.caller.project_id
    row, token = engine.database.run(lambda tx: keys.create(tx, ring, project_id, wish, "test"), "test_key")
    return Shop(app, engine.database, ring, project_id, row, token)


def _settings(database: Database, folder: Path) -> Settings:
    return Settings(
        mode="test",
        database_url=database.engine.url.render_as_string(hide_password=False),
        api_secret=SECRET,
        row_mac_key="6d" * 32,
        api_rate_limit="1000000/minute",
        signer_dir=folder / "signer",
    )


def text(units: int, code: str) -> str:
    return format_units(units, ASSETS[code].decimals)


def units_of(money: dict[str, Any]) -> int:
    return int(money["units"])


def new_name() -> str:
    return secrets.token_hex(8)
