// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// Moves tokens from many deposit addresses to one treasury in one transaction that the treasury pays (EIP-7702).
///
/// Deployed once; each deposit address then signs an authorization to run this code. Both places run the same bytes,
/// and immutables are part of them: `treasury` and `self` read the same here and there.
///
/// What it rests on:
/// - The only recipient there ever is is `treasury`, fixed when deployed. No argument, caller or token changes it.
/// - Even so only the treasury may start a sweep: which money moves when, and what gas is spent on, is the operator's.
/// - A deposit address obeys only the deployed contract itself, which obeys only the treasury.
/// - There is no storage and no owner to replace; nothing here can be upgraded.
///
/// A deposit address that runs this code takes the native coin like any other, but a transfer of exactly 21000 gas,
/// as many exchanges send it, does not suffice to run any code at all: it fails and the sender keeps the coin. Take the
/// code away again (an authorization of the zero address), or use this for addresses that only ever receive tokens.
contract Sweeper {
    address public immutable treasury;
    /// This contract's own address: how code that runs at a deposit address knows who may call it.
    address public immutable self;

    /// Nothing moved from this owner: the token refused, or the owner does not run this code.
    event Failed(address indexed token, address indexed owner, uint256 amount);

    error NotAllowed();
    error Malformed();
    error Refused();

    constructor(address treasury_) {
        if (treasury_ == address(0)) revert Malformed();
        treasury = treasury_;
        self = address(this);
    }

    /// Moves exactly `amounts[i]` of `token` from `owners[i]` to the treasury: what comes in meanwhile stays for the
    /// next time, so that the books know each amount before it moves. An owner whose part fails is reported by `Failed`
    /// and the others go on.
    function sweep(address token, address[] calldata owners, uint256[] calldata amounts) external {
        if (msg.sender != treasury || address(this) != self) revert NotAllowed();
        if (owners.length != amounts.length) revert Malformed();
        for (uint256 i = 0; i < owners.length; ++i) {
            if (!_asked(owners[i], abi.encodeCall(this.sweepToTreasury, (token, amounts[i])))) {
                emit Failed(token, owners[i], amounts[i]);
            }
        }
    }

    /// Runs at the deposit address. Answers with its own selector: a call to an address without code succeeds too, and
    /// answers nothing.
    function sweepToTreasury(address token, uint256 amount) external returns (bytes4) {
        if (msg.sender != self) revert NotAllowed();
        (bool done, bytes memory answer) = token.call(abi.encodeCall(IERC20.transfer, (treasury, amount)));
        // Some tokens answer nothing (USDT), and some answer false instead of reverting.
        if (!done || token.code.length == 0) revert Refused();
        if (answer.length != 0 && abi.decode(answer, (uint256)) != 1) revert Refused();
        return this.sweepToTreasury.selector;
    }

    function _asked(address owner, bytes memory request) private returns (bool) {
        (bool done, bytes memory answer) = owner.call(request);
        return done && answer.length == 32 && abi.decode(answer, (bytes32)) == bytes32(this.sweepToTreasury.selector);
    }

    /// A deposit address takes what an address without code takes, with or without data; the contract itself takes
    /// nothing, for nobody could get it out again.
    receive() external payable {
        if (address(this) == self) revert NotAllowed();
    }

    fallback() external payable {
        if (address(this) == self) revert NotAllowed();
    }
}

interface IERC20 {
    function transfer(address to, uint256 amount) external returns (bool);
}
