"""A `ChainWallet` on the model chain, with Bitcoin's manners: inputs, change, replacement, conflicts, maturity."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from ledger.crashpoint import crashpoint
from ledger.errors import (
    InsufficientHotFunds,
    InvalidAmount,
    NodeProtocolError,
    NodeUnavailable,
    ResourceTaken,
    TransactionRefused,
)
from wallets.fake.addresses import FakeAddressBook, derive
from wallets.fake.chain import FakeChain, Lie
from wallets.fake.deposits import page, present
from wallets.fake.model import COINBASE_MATURITY, State, Tx, vsize
from wallets.protocol import (
    ChainBalance,
    DepositPage,
    FeeMarket,
    NodeHealth,
    Output,
    Proposal,
    SeenDeposit,
    SignedTransaction,
    Spend,
    SweepTerms,
    Tip,
    TokenFacts,
    TxState,
    TxStatus,
    WalletIdentity,
    coins_only,
)

DUST_UNITS = 294
#: Change addresses looked for beyond those known, by a wallet that was put back from a backup.
GAP = 1_000


class FakeWallet:
    """The wallet `name` on a `FakeChain`. Two objects of one name are two views of one wallet."""

    replaces = True
    payees_max = 500

    def __init__(self, node: FakeChain, name: str = "coffer", chain: str = "bitcoin") -> None:
        self.node = node
        self.chain = chain
        self._name = name
        with node.state(write=True) as s:
            node.wallet_state(s, name)

    @contextmanager
    def _call(self, method: str, *, changes: bool = False) -> Iterator[tuple[State, Lie | None]]:
        if changes:
            crashpoint(f"fake.{method}.before")
        lie = self.node.begin(method)
        with self.node.state(write=changes) as s:
            yield s, lie
        if changes:
            crashpoint(f"fake.{method}.after")
        if lie is Lie.LOST_DONE:
            raise NodeUnavailable(f"{method}: connection lost")

    def open(self) -> WalletIdentity:
        with self._call("open") as (s, _):
            return WalletIdentity(s.blocks[0].hash, s.wallets[self._name].account_public_key)

    def health(self) -> NodeHealth:
        try:
            with self._call("health") as (s, _):
                tip = Tip(s.tip.height, s.tip.hash)
                if s.unready is not None:
                    return NodeHealth(False, s.unready[0], s.unready[1], tip)
                return NodeHealth(True, tip=tip)
        except NodeUnavailable as error:
            return NodeHealth(False, "unreachable", error.detail)

    def watch(self, count: int) -> int:
        with self._call("watch", changes=True) as (s, _):
            wallet = s.wallets[self._name]
            wallet.watched = max(wallet.watched, count)
            return wallet.watched

    def recover(self, count: int, since_height: int) -> None:
        with self._call("recover", changes=True) as (s, _):
            wallet = s.wallets[self._name]
            wallet.watched = max(wallet.watched, count)
            wallet.change_count += self._change_since(s)
            for txid, tx in s.txs.items():
                if s.active(txid) and s.height_of.get(txid, since_height) >= since_height:
                    self.node.notice(s, tx)

    def _change_since(self, s: State) -> int:
        """How many change addresses beyond those that it remembers were paid to: its keys find them within a gap."""
        wallet = s.wallets[self._name]
        paid = {output.address for tx in s.txs.values() for output in tx.outputs}
        path = f"{wallet.account_public_key}/change"
        beyond = [n for n in range(GAP) if derive(f"{path}/{wallet.change_count + n}", self.node.prefix) in paid]
        return max(beyond, default=-1) + 1

    def addresses(self, start: int, count: int) -> Sequence[str]:
        raise LookupError("addresses come from the account public key")

    def mark(self, text: str) -> None:
        with self._call("mark", changes=True) as (s, _):
            s.wallets[self._name].mark = text

    def marked(self) -> str | None:
        with self._call("marked") as (s, _):
            return s.wallets[self._name].mark

    def tag(self, index: int, text: str) -> None:
        return None

    def deposits_since(self, cursor: str | None) -> DepositPage:
        with self._call("deposits_since") as (s, _):
            return page(s, s.wallets[self._name], self.node.owned(s, self._name), cursor)

    def resources_of(self, txid: str) -> tuple[str, ...]:
        with self._call("resources_of") as (s, _):
            return s.txs[txid].inputs if txid in s.txs else ()

    def bytes_of(self, txid: str) -> str | None:
        with self._call("bytes_of") as (s, _):
            tx = s.txs.get(txid)
            return None if tx is None else _raw(tx)

    def look_up_deposits(self, deposits: Sequence[SeenDeposit]) -> Mapping[str, SeenDeposit]:
        with self._call("look_up_deposits") as (s, _):
            return {deposit.key: present(s, deposit) for deposit in deposits}

    def propose(self, spend: Spend, rate: int, rate_max: int, *, excluded: Collection[str] = ()) -> Proposal:
        outputs = coins_only(spend)
        for output in outputs:
            FakeAddressBook(self.node.prefix).parse(output.address)
        if len({output.address for output in outputs}) != len(outputs) or not outputs:
            raise ValueError("a transaction pays one to many different addresses")
        if any(output.units < DUST_UNITS for output in outputs):
            raise InvalidAmount("/amount", "is too small an output to be relayed (dust)")
        rate = min(rate, rate_max)
        with self._call("propose", changes=True) as (s, _):
            wallet = s.wallets[self._name]
            own = tuple(o.address for o in outputs if o.address in self.node.owned(s, self._name))
            inputs, fee, change = self._choose(s, outputs, rate, excluded)
            paid = [[o.address, o.units] for o in outputs]
            if change:
                path = f"{wallet.account_public_key}/change/{wallet.change_count}"
                paid.append([derive(path, self.node.prefix), change])
                wallet.change_count += 1
            size = vsize(len(inputs), len(paid))
            ceiling = min(-(-size * rate_max // 1000), fee + max(0, change - DUST_UNITS))
            payload = {"inputs": inputs, "outputs": paid, "payees": len(outputs), "fee": fee}
            return Proposal(tuple(inputs), fee, json.dumps(payload), max(fee, ceiling), own, spends=tuple(inputs))

    def _choose(
        self, s: State, outputs: Sequence[Output], rate: int, excluded: Collection[str]
    ) -> tuple[list[str], int, int]:
        """Largest coins first: the inputs, the fee, and the change (0 when it would be dust)."""
        wanted = sum(output.units for output in outputs)
        coins = {key: units for key, units in self._spendable(s).items() if key not in excluded}
        chosen: list[str] = []
        total = 0
        for key in sorted(coins, key=lambda k: (-coins[k], k)):
            chosen.append(key)
            total += coins[key]
            fee = -(-vsize(len(chosen), len(outputs) + 1) * rate // 1000)
            if total >= wanted + fee + DUST_UNITS:
                return chosen, fee, total - wanted - fee
            fee = -(-vsize(len(chosen), len(outputs)) * rate // 1000)
            if total >= wanted + fee:
                return chosen, total - wanted, 0
        raise InsufficientHotFunds(f"{total} units may be spent, {wanted} and the fee are asked")

    def sign(self, proposal: Proposal, spend: Spend) -> SignedTransaction:
        outputs = coins_only(spend)
        with self._call("sign", changes=True) as (s, _):
            body = json.loads(proposal.payload)
            paid = [Output(address, units) for address, units in body["outputs"]]
            wanted = sorted(outputs, key=lambda o: o.address)
            if sorted(paid[: body["payees"]], key=lambda o: o.address) != wanted:
                raise NodeProtocolError("the proposal pays something else")
            if tuple(body["inputs"]) != proposal.resources or body["fee"] != proposal.fee_units:
                raise NodeProtocolError("the proposal spends something else")
            if any(self.node.owned(s, self._name).get(o.address, 0) is not None for o in paid[body["payees"] :]):
                raise NodeProtocolError("the change is not ours")
            tx = Tx(proposal.resources, tuple(paid), proposal.fee_units)
            return SignedTransaction(tx.txid, _raw(tx), tx.fee_units, tx.inputs, proposal.payload)

    def reprice(self, signed: SignedTransaction, spend: Spend, rate: int, fee_max_units: int) -> Proposal:
        outputs = coins_only(spend)
        with self._call("reprice", changes=True) as (s, _):
            body = json.loads(signed.payload)
            if sorted(body["outputs"][: body["payees"]]) != sorted([o.address, o.units] for o in outputs):
                raise NodeProtocolError("the signed transaction pays something else")
            size = vsize(len(body["inputs"]), len(body["outputs"]))
            fee = max(-(-size * rate // 1000), signed.fee_units + -(-size * s.rate_min // 1000))
            change = body["outputs"][-1][1] if len(body["outputs"]) > body["payees"] else 0
            left = change - (fee - signed.fee_units)
            if fee > fee_max_units or left < DUST_UNITS:
                raise InsufficientHotFunds(f"a fee of {fee} units is more than the change or the ceiling bears")
            spare = f"{signed.txid}:{len(body['outputs']) - 1}"
            if spare in s.spender or spare in s.wallets[self._name].held:
                raise ResourceTaken(f"the change {spare} already serves another payment")
            body["outputs"][-1][1] = left
            body["fee"] = fee
            return Proposal(signed.resources, fee, json.dumps(body), fee_max_units, spends=signed.resources)

    def broadcast(self, tx: SignedTransaction) -> None:
        with self._call("broadcast", changes=True) as (s, lie):
            inputs, outputs, fee = json.loads(bytes.fromhex(tx.raw))
            if lie is not Lie.ACCEPTED_UNDONE:
                self.node.submit(Tx(tuple(inputs), tuple(Output(a, u) for a, u in outputs), fee))
                s.wallets[self._name].held.difference_update(inputs)
            if lie is Lie.REFUSED_DONE:
                raise TransactionRefused("bad-txns-inputs-missingorspent")

    def look_up(self, tx: SignedTransaction) -> TxStatus:
        with self._call("look_up") as (s, _):
            rivals = tuple(sorted({s.spender[i] for i in tx.resources if i in s.spender} - {tx.txid}))
            if tx.txid in s.height_of:
                height = s.height_of[tx.txid]
                return TxStatus(TxState.CONFIRMED, s.depth(tx.txid), height, s.blocks[height].hash)
            if tx.txid in s.pool:
                return TxStatus(TxState.POOL)
            depth = s.conflict_depth(tx.resources)
            state = TxState.CONFLICTED if depth else TxState.UNKNOWN
            return TxStatus(state, depth, conflicting=rivals)

    def hold(self, resources: Collection[str]) -> None:
        with self._call("hold", changes=True) as (s, _):
            live = [r for r in resources if s.output(r) is not None and r not in s.spender]
            s.wallets[self._name].held.update(live)

    def free(self, resources: Collection[str]) -> None:
        with self._call("free", changes=True) as (s, _):
            s.wallets[self._name].held.difference_update(resources)

    def held(self) -> frozenset[str]:
        with self._call("held") as (s, _):
            return frozenset(s.wallets[self._name].held)

    def balance(self, token: str | None = None, indices: Collection[int] = ()) -> ChainBalance:
        with self._call("balance") as (s, _):
            coins = self._coins(s)
            own = {key: units for key, units in coins.items() if s.depth(_parent(key)) or self._is_ours(s, key)}
            total = sum(coins.values())
            spendable = sum(self._spendable(s).values())
            pending = total - sum(own.values())
            return ChainBalance(total, spendable, Tip(s.tip.height, s.tip.hash), pending)

    def watched_balance(self, address: str, token: str | None = None) -> int | None:
        with self._call("watched_balance") as (s, _):
            return sum(
                output.units
                for txid in s.height_of
                for vout, output in enumerate(s.txs[txid].outputs)
                if output.address == address and f"{txid}:{vout}" not in s.spender
            )

    def split(self, parts: int, rate_max: int) -> Sequence[Output]:
        return ()

    def fill(self, live: Collection[str]) -> Sequence[Output]:
        return ()  # no payment waits for another one's resource

    def sweep_terms(self, token: str | None = None) -> SweepTerms:
        raise LookupError("the model chain has one wallet for all indices")

    def token_facts(self, contract: str) -> TokenFacts:
        raise LookupError("the model chain has no tokens")

    def fee_market(self, blocks_target: int, rate_fallback: int) -> FeeMarket:
        with self._call("fee_market") as (s, _):
            rate, source = (rate_fallback, "fallback") if s.rate is None else (s.rate, "estimate")
            return FeeMarket(max(rate, s.rate_min), source)

    def _coins(self, s: State) -> dict[str, int]:
        """Unspent outputs of this wallet in pool and chain, in units."""
        owned = self.node.owned(s, self._name)
        return {
            f"{txid}:{vout}": output.units
            for txid in s.wallets[self._name].known
            if s.active(txid)
            for vout, output in enumerate(s.txs[txid].outputs)
            if output.address in owned and f"{txid}:{vout}" not in s.spender
        }

    def _is_ours(self, s: State, outpoint: str) -> bool:
        """Whether the transaction that made this coin spent ours: its change may be used unconfirmed."""
        owned = self.node.owned(s, self._name)
        spent = [s.output(key) for key in s.txs[_parent(outpoint)].inputs]
        return all(output is not None and output.address in owned for output in spent)

    def _spendable(self, s: State) -> dict[str, int]:
        held = s.wallets[self._name].held
        spendable = {}
        for key, units in self._coins(s).items():
            mature = not s.txs[_parent(key)].coinbase or s.depth(_parent(key)) >= COINBASE_MATURITY
            if key not in held and mature and (s.depth(_parent(key)) or self._is_ours(s, key)):
                spendable[key] = units
        return spendable


def _raw(tx: Tx) -> str:
    return json.dumps([tx.inputs, [[o.address, o.units] for o in tx.outputs], tx.fee_units]).encode().hex()


def _parent(outpoint: str) -> str:
    return outpoint.rpartition(":")[0]
