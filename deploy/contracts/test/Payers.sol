// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

// Ways in which the native coin moves, or does not, without a transaction that says so. For tests only.

/// Pays out of a contract: the payee appears in no transaction's `to` and in no log.
contract Forwarder {
    error Changed();

    function forward(address payable to) external payable {
        _pay(to, msg.value);
    }

    /// The same share for each; the rest stays here.
    function forwardMany(address payable[] calldata to) external payable {
        for (uint256 i = 0; i < to.length; ++i) {
            _pay(to[i], msg.value / to.length);
        }
    }

    /// An inner call pays and then reverts; the transaction succeeds and the payee has nothing.
    function pretend(address payable to) external payable {
        try this.payAndRevert(to, msg.value) {} catch {}
    }

    function payAndRevert(address payable to, uint256 amount) external {
        _pay(to, amount);
        revert Changed();
    }

    function _pay(address payable to, uint256 amount) private {
        (bool done,) = to.call{value: amount}("");
        require(done);
    }
}

/// Takes no coin.
contract Rejecter {
    receive() external payable {
        revert();
    }
}

/// Takes the coin, for more than the 21000 gas of a plain transfer.
contract CostlyReceiver {
    uint256 public times;

    receive() external payable {
        ++times;
    }
}

/// Ends while it is made, and leaves its coin to an address that nothing calls.
contract Destructor {
    constructor(address payable to) payable {
        selfdestruct(to);
    }
}
