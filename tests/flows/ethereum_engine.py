"""The engine on a private EVM chain: the real adapter, a real node, tokens good and bad."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from typing import Any, ClassVar

from sqlalchemy import Row, insert, select

from devstack.anvil import CHAIN_ID, Anvil
from jobs import holdings
from jobs.assets import DatabaseDirectory
from jobs.signer import Signer
from jobs.sweep import plan as sweep_plan
from ledger import policy
from ledger.db import Tx
from ledger.money import ETH, UNITS_BOUND, Asset
from ledger.schema import asset as assets
from ledger.schema import deposit, payment, sweep
from tests.flows.engine import MAC, Engine
from wallets.ethereum.addresses import EthereumAddressBook
from wallets.ethereum.client import EthereumClient
from wallets.ethereum.contracts import creation, encode, load
from wallets.ethereum.hd import checksummed
from wallets.ethereum.keys import EthereumKeys
from wallets.ethereum.wallet import EthereumWallet

ETHER = 10**18
GWEI = 10**9
#: Blocks after which anvil calls a block final, with `epoch_slots=4`.
FINAL_BLOCKS = 12


@dataclass
class EthereumEngine(Engine):
    """Withdrawals and sweeps settle two blocks deep, deposits are credited one deep."""

    name: ClassVar[str] = "ethereum"
    coin: ClassVar[Asset] = ETH

    node: Anvil = field(kw_only=True)
    keys: EthereumKeys = field(init=False)
    contracts: dict[str, str] = field(default_factory=dict)  #: token code -> its contract
    kinds: dict[str, str] = field(default_factory=dict)  #: token code -> which contract it is
    _names: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.keys = EthereumKeys(sha256(str(self.folder).encode()).digest())
        self.books = EthereumAddressBook(CHAIN_ID)
        caps = {"ETH": 10_000 * ETHER} | dict.fromkeys(("GOOD", "FALSE", "FEE", "PAUSE"), UNITS_BOUND - 1)
        self.serve(self.make_wallet(), Signer(self.folder / "signer", MAC, caps, self.cold()))
        self.set_policy(withdrawal_confirmations=2, deposit_tiers=((UNITS_BOUND, 1),), hot_low_units=0)
        self.set_policy(sweep_minimum_units=10**16)
        self.tick()

    def make_wallet(self, sweeper: str | None = None) -> EthereumWallet:
        directory = DatabaseDirectory(self.database, self.name)
        return EthereumWallet(
            EthereumClient(self.node.url), self.keys, directory, CHAIN_ID, sweeper=sweeper, start_block=0
        )

    def cold(self) -> dict[str, str]:
        return {self.name: checksummed(sha256(b"cold").digest()[:20])}

    def outside(self) -> str:
        """A fresh address that this wallet does not own."""
        return checksummed(sha256(f"{self.folder}/{next(self._names)}".encode()).digest()[:20])

    # What people outside do

    def pay(self, address: str, wei: int, blocks: int = 1) -> str:
        txid = self.node.pay(address, wei, gas=100_000)
        self.mine(blocks)
        return txid

    def mine(self, blocks: int = 2) -> None:
        self.node.mine(blocks)
        self.tick()

    def finalise(self) -> None:
        """What is in a block now becomes final."""
        self.mine(FINAL_BLOCKS)

    def deployed(self, name: str, *args: Any) -> str:
        return self.books.parse(self.node.deploy(creation(load(name), args)))

    def call(self, contract: str, kind: str, function: str, *args: Any, wei: int = 0) -> str:
        """An outsider calls a contract; a block is made."""
        sent = {"to": contract, "data": encode(load(kind), function, args), "value": hex(wei)}
        receipt = self.node.settle(self.node.send(sent))
        assert receipt["status"] == "0x1", receipt
        return str(receipt["transactionHash"])

    # Tokens

    def add_token(self, code: str, kind: str = "GoodToken", *more: Any, **rules: Any) -> Asset:
        """A token of six decimals, all of which the outside payer has."""
        contract = self.deployed(kind, code, 6, self.node.payer, 10**15, *more)
        self.database.run(lambda tx: _add(tx, code, contract), "test_token")
        self.contracts[code], self.kinds[code] = contract, kind
        plain = {"withdrawal_confirmations": 2, "deposit_tiers": ((UNITS_BOUND, 1),)}
        self.set_policy(code, **(policy.token_rules(6) | plain | rules))
        return Asset(code, self.name, 6)

    def give(self, code: str, address: str, units: int) -> str:
        """An outsider pays in a token, in a block."""
        txid = self.call(self.contracts[code], self.kinds[code], "transfer", address, units)
        self.tick()
        return txid

    def tokens_of(self, code: str, address: str) -> int:
        return int(self.node.call(self.contracts[code], encode(load("GoodToken"), "balanceOf", [address])), 16)

    # What a test looks at

    def funded(self, units: int, asset: Asset | None = None) -> int:
        account_id = self.account()
        home = self.address(account_id, asset)
        if asset is None:
            self.pay(home.address, units)
        else:
            self.give(asset.code, home.address, units)
        assert self.available(account_id, None if asset is None else asset.code) == units
        return account_id

    def stock(self, wei: int = ETHER) -> None:
        """The house's own money in the hot wallet."""
        self.pay(self.hot, wei)

    @property
    def hot(self) -> str:
        return self.keys.address(0)

    def sweeps(self) -> list[Row[Any]]:
        return self.rows(sweep)

    def payments(self, purpose: str) -> list[Row[Any]]:
        query = select(payment).where(payment.c.purpose == purpose).order_by(payment.c.id)
        return list(self.database.read(lambda tx: tx.all(query)))

    def deposits(self) -> list[Row[Any]]:
        return self.rows(deposit)

    def held(self, index: int, asset: str = "ETH") -> int:
        """What the books expect on an index."""
        return self.database.read(lambda tx: holdings.at(tx, self.name, asset, index))

    def left(self) -> dict[tuple[str, int], str | None]:
        """What lies on indices, and why."""
        places = self.database.read(lambda tx: sweep_plan.listing(tx, self.name))
        return {(place.asset, place.idx): place.reason for place in places}

    def agree(self) -> None:
        """The books add up, agree with the chain to the atom, and so does each index."""
        self.check_invariants()
        for code in ("ETH", *self.contracts):
            for row in self.database.read(lambda tx, c=code: holdings.present(tx, self.name, c)):
                address = self.keys.address(row.idx)
                there = self.node.balance(address) if code == "ETH" else self.tokens_of(code, address)
                assert there == row.units, (code, row.idx)


def _add(tx: Tx, code: str, contract: str) -> None:
    values = {"code": code, "chain": "ethereum", "decimals": 6, "contract": contract, "enabled": 1}
    tx.execute(insert(assets).values(values | {"created_at": tx.now}))
