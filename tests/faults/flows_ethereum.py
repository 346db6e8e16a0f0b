"""The flows of Ethereum and its tokens, on a real anvil."""

from __future__ import annotations

from functools import partial

from tests.faults.chain_ethereum import ETHER, GWEI, TOKEN, TOKEN_POLICY, EthereumOutside
from tests.faults.flow import (
    Ends,
    Flow,
    Start,
    account,
    address,
    close,
    empty_pool,
    hours,
    mine,
    pay,
    reorg,
    rules,
    task,
    withdraw,
    work,
)
from tests.faults.world import World

_ETHEREUM = ("ethereum",)
_FEE = ETHER // 1_000
_TOKEN_FEE = 10**6
_ONE = 10**6  #: a token
_SETTLED = (mine(3), work)
#: Two epochs of four blocks are final here.
_BURIED = (mine(12), hours)
_FUNDED = ("final", "final", "final")


def _outside(world: World) -> EthereumOutside:
    assert isinstance(world.outside, EthereumOutside)
    return world.outside


def _list_token(world: World) -> None:
    world.list_token(TOKEN, _outside(world).new_token(), 6, TOKEN_POLICY)


def _make_sweeper(world: World) -> None:
    _outside(world).new_sweeper()


STARTS = (
    Start(
        "eth-adopted",
        "founded",
        (hours, account("alice"), account("bob"), pay("capital", ("hot", 5 * ETHER)), *_SETTLED, *_BURIED, close),
    ),
    Start(
        "eth-funded",
        "eth-adopted",
        (
            address("a", "alice"),
            address("b", "bob"),
            pay("fund-a", ("a", 3 * ETHER)),
            pay("fund-b", ("b", 2 * ETHER)),
            *_SETTLED,
            *_BURIED,
            close,
        ),
    ),
    Start("token-adopted", "eth-adopted", (_list_token,)),
    Start(
        "token-funded",
        "token-adopted",
        (
            address("a", "alice", TOKEN),
            address("b", "bob", TOKEN),
            pay("fund-hot", ("hot", 1_000 * _ONE), asset=TOKEN),
            pay("fund-a", ("a", 300 * _ONE), asset=TOKEN),
            pay("fund-b", ("b", 200 * _ONE), asset=TOKEN),
            *_SETTLED,
            *_BURIED,
            close,
        ),
    ),
    Start("token-batched", "token-funded", (_make_sweeper, rules(TOKEN, sweep_batched=1))),
)

FLOWS = (
    Flow(
        "eth-deposit",
        "eth-adopted",
        (
            address("a", "alice"),
            pay("tx", ("a", 2 * ETHER)),
            mine(1),
            work,
            mine(2),
            work,
            *_BURIED,
        ),
        Ends({"alice": 2 * ETHER}, deposits=("final", "final")),
        chains=_ETHEREUM,
    ),
    Flow(
        "eth-withdrawal",
        "eth-funded",
        (
            withdraw("w1", "alice", ETHER, "p1"),
            withdraw("w2", "bob", ETHER // 2, "p1"),
            work,
            mine(1),
            work,
            *_SETTLED,
            *_BURIED,
        ),
        Ends(
            {"alice": 2 * ETHER - _FEE, "bob": 2 * ETHER - ETHER // 2 - _FEE},
            {"w1": "completed", "w2": "completed"},
            _FUNDED,
        ),
        chains=_ETHEREUM,
    ),
    Flow(
        "token-deposit",
        "token-adopted",
        (
            address("a", "alice", TOKEN),
            pay("tx", ("a", 20 * _ONE), asset=TOKEN),
            mine(1),
            work,
            mine(2),
            work,
            *_BURIED,
        ),
        Ends({f"{TOKEN}:alice": 20 * _ONE}, deposits=("final", "final")),
        chains=_ETHEREUM,
    ),
    Flow(
        "token-withdrawal",
        "token-funded",
        (withdraw("w1", "alice", 100 * _ONE, "p1", TOKEN), work, mine(1), work, *_SETTLED, *_BURIED),
        Ends({f"{TOKEN}:alice": 200 * _ONE - _TOKEN_FEE}, {"w1": "completed"}, ("final",) * 4),
        chains=_ETHEREUM,
    ),
    Flow(
        "eth-sweep",
        "eth-funded",
        (task("sweep"), mine(1), work, *_SETTLED, work, *_BURIED),
        Ends({"alice": 3 * ETHER, "bob": 2 * ETHER}, {}, _FUNDED, sweeps=("swept", "swept"), others={"sweep": 2}),
        chains=_ETHEREUM,
    ),
    Flow(
        "token-sweep",
        "token-funded",
        (
            task("sweep"),
            mine(1),
            work,
            *_SETTLED,  # the gas is there
            work,
            mine(1),
            work,
            *_SETTLED,
            work,
            *_BURIED,
        ),
        Ends({}, {}, ("final",) * 4, sweeps=("swept", "swept"), others={"gas": 2, "sweep": 2}),
        chains=_ETHEREUM,
    ),
    Flow(
        "token-sweep-batched",
        "token-batched",
        (
            task("sweep"),
            mine(1),
            work,
            *_SETTLED,
            work,
            World.let_a_day_pass,
            task("sweep"),  # their code is taken away again
            *_SETTLED,
            *_BURIED,
        ),
        Ends({}, {}, ("final",) * 4, sweeps=("swept", "swept"), others={"sweep": 2}),
        chains=_ETHEREUM,
    ),
    Flow(
        "eth-deploy",
        "eth-funded",
        (World.deploy, work, mine(1), work, *_SETTLED, *_BURIED),
        Ends({}, {}, _FUNDED, others={"call": 1}),
        chains=_ETHEREUM,
    ),
    Flow(
        "eth-cold",
        "eth-funded",
        (
            partial(World.set_policy, asset="ETH", hot_ceiling_units=3 * ETHER, hot_keep_units=2 * ETHER),
            task("hot"),
            mine(1),
            work,
            *_SETTLED,
            *_BURIED,
        ),
        Ends({}, {}, _FUNDED, others={"cold": 1}, cold=3 * ETHER),
        chains=_ETHEREUM,
    ),
    Flow(
        "eth-payment-bumped",
        "eth-funded",
        (
            withdraw("w1", "alice", ETHER, "p1"),
            work,
            lambda w: w.outside.set_rate(20 * GWEI),
            World.let_hours_pass,
            work,
            *_SETTLED,
            *_BURIED,
        ),
        Ends({"alice": 2 * ETHER - _FEE}, {"w1": "completed"}, _FUNDED),
        chains=_ETHEREUM,
    ),
    Flow(
        "eth-payment-vanished",
        "eth-funded",
        (withdraw("w1", "alice", ETHER, "p1"), work, empty_pool, work, *_SETTLED, *_BURIED),
        Ends({"alice": 2 * ETHER - _FEE}, {"w1": "completed"}, _FUNDED),
        chains=_ETHEREUM,
    ),
    Flow(
        "eth-payment-reorged",
        "eth-funded",
        (withdraw("w1", "alice", ETHER, "p1"), work, mine(4), work, reorg(4), work, *_SETTLED, *_BURIED),
        Ends({"alice": 2 * ETHER - _FEE}, {"w1": "completed"}, _FUNDED),
        chains=_ETHEREUM,
    ),
    Flow(
        "eth-deposit-reorged",
        "eth-adopted",
        (
            address("a", "alice"),
            pay("tx", ("a", 2 * ETHER)),
            mine(3),
            work,
            reorg(3),
            work,
            *_SETTLED,
            *_BURIED,
        ),
        Ends({"alice": 2 * ETHER}, deposits=("final", "final")),
        chains=_ETHEREUM,
    ),
    Flow(
        "eth-deposit-reorg-spent",
        "eth-funded",
        (
            account("dave"),
            address("d", "dave"),
            pay("tx", ("d", 2 * ETHER)),
            mine(3),
            work,
            withdraw("w1", "dave", ETHER, "p1"),
            work,
            reorg(3, double_spent="tx"),
            work,
            *_SETTLED,
            *_BURIED,
        ),
        Ends(
            {"dave": 0},
            {"w1": "completed"},
            ("final", "final", "final", "reversed"),
            receivable={"dave": ETHER + _FEE},
        ),
        chains=_ETHEREUM,
    ),
)
