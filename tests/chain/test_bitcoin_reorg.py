"""Two nodes, two chains: what the wallet of the losing one says, and does not say."""

from __future__ import annotations

from collections.abc import Callable

from devstack.bitcoind import MINER_WALLET, Bitcoind
from tests.contract.bitcoin_rig import BitcoinRig
from tests.contract.rigs import until
from wallets.protocol import DepositStatus, Output, TxState

COIN = 10**8


def pair(own_node: Callable[..., Bitcoind]) -> tuple[BitcoinRig, Bitcoind]:
    """A wallet on a node, and a peer of it with the same chain."""
    ours, theirs = own_node(), own_node(blocks=0)
    ours.connect(theirs)
    theirs.sync_with(ours)
    return BitcoinRig(ours), theirs


def rejoin(rig: BitcoinRig, theirs: Bitcoind) -> None:
    """Theirs is longer and wins."""
    rig.node.connect(theirs)
    rig.node.sync_with(theirs)


def test_a_deposit_that_lost_to_a_double_spend_elsewhere_is_found_gone_only_by_looking(
    own_node: Callable[..., Bitcoind],
) -> None:
    rig, theirs = pair(own_node)
    rig.fund(1, 2 * COIN)
    theirs.sync_with(rig.node)
    stays = rig.wallet.deposits_since(None)
    cursor = rig.node.admin("getbestblockhash")
    rig.node.isolate()

    txid = rig.pay(Output(rig.address(0), COIN))
    paid = rig.node.admin("gettransaction", txid, True, True, wallet=MINER_WALLET)["decoded"]
    inputs = [{"txid": vin["txid"], "vout": vin["vout"]} for vin in paid["vin"]]
    total = sum(out["value"] for out in paid["vout"])
    bare = rig.node.admin("createrawtransaction", inputs, [{rig.outside_address(): str(total)}])
    # The first spender is in our own pool already: sign where it is not known.
    prevouts = [
        {
            "txid": i["txid"],
            "vout": i["vout"],
            "scriptPubKey": coin["scriptPubKey"]["hex"],
            "amount": str(coin["value"]),
        }
        for i in inputs
        if (coin := theirs.admin("gettxout", i["txid"], i["vout"]))
    ]
    theft = rig.node.admin("signrawtransactionwithwallet", bare, prevouts, wallet=MINER_WALLET)
    assert theft["complete"]
    rig.mine(2)
    [credited] = [d for d in rig.wallet.deposits_since(cursor).deposits if d.txid == txid]
    assert credited.status is DepositStatus.CONFIRMED

    theirs.admin("generateblock", "raw(51)", [theft["hex"]])
    theirs.mine(2, address=rig.outside_address())
    rejoin(rig, theirs)

    assert credited.key not in {d.key for d in rig.wallet.deposits_since(cursor).deposits}
    gone = rig.wallet.look_up_deposits([credited])[credited.key]
    assert (gone.status, gone.reason) == (DepositStatus.GONE, "conflicted")
    assert rig.wallet.balance().total_units == 2 * COIN
    assert rig.wallet.look_up_deposits(stays.deposits)[stays.deposits[0].key].status is DepositStatus.CONFIRMED


def test_a_payment_on_the_losing_chain_waits_again_and_confirms_once(own_node: Callable[..., Bitcoind]) -> None:
    rig, theirs = pair(own_node)
    rig.fund(0, COIN)
    theirs.sync_with(rig.node)
    rig.node.isolate()
    output = Output(rig.outside_address(), COIN // 2)
    tx = rig.send(output)
    rig.mine(3)
    assert rig.status(tx).depth == 3
    theirs.mine(4, address=rig.outside_address())
    rejoin(rig, theirs)
    until(lambda: rig.state(tx) is TxState.POOL, "the payment to be back in the pool")
    rig.wallet.broadcast(tx)
    rig.mine()
    assert rig.status(tx).depth == 1
    assert rig.received(output.address) == output.units


def test_a_stale_cursor_reports_what_its_branch_held(own_node: Callable[..., Bitcoind]) -> None:
    rig, theirs = pair(own_node)
    rig.node.isolate()
    key = rig.fund(0, COIN)
    cursor = rig.node.admin("getbestblockhash")
    theirs.mine(2, address=rig.outside_address())
    rejoin(rig, theirs)
    [deposit] = [d for d in rig.wallet.deposits_since(cursor).deposits if d.key == key]
    assert deposit.status is DepositStatus.POOL
    assert rig.wallet.look_up_deposits([deposit])[key].status is DepositStatus.POOL
