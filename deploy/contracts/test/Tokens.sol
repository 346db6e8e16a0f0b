// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

// Tokens for tests and the demo, good and bad. Anyone may mint, pause and freeze: never use them for anything else.

abstract contract Token {
    string public symbol;
    uint8 public immutable decimals;
    uint256 public totalSupply;
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;

    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed owner, address indexed spender, uint256 value);

    error NotEnough();

    constructor(string memory symbol_, uint8 decimals_, address holder, uint256 supply) {
        symbol = symbol_;
        decimals = decimals_;
        mint(holder, supply);
    }

    function name() external view returns (string memory) {
        return symbol;
    }

    function mint(address to, uint256 amount) public {
        totalSupply += amount;
        balanceOf[to] += amount;
        emit Transfer(address(0), to, amount);
    }

    function approve(address spender, uint256 amount) external returns (bool) {
        allowance[msg.sender][spender] = amount;
        emit Approval(msg.sender, spender, amount);
        return true;
    }

    function _spendAllowance(address from, uint256 amount) internal {
        if (allowance[from][msg.sender] < amount) revert NotEnough();
        allowance[from][msg.sender] -= amount;
    }

    function _move(address from, address to, uint256 amount) internal {
        _shift(from, to, amount);
        emit Transfer(from, to, amount);
    }

    /// Balances without an event.
    function _shift(address from, address to, uint256 amount) internal {
        if (balanceOf[from] < amount) revert NotEnough();
        unchecked {
            balanceOf[from] -= amount;
        }
        balanceOf[to] += amount;
    }
}

/// ERC-20 as it should be.
contract GoodToken is Token {
    constructor(string memory symbol_, uint8 decimals_, address holder, uint256 supply)
        Token(symbol_, decimals_, holder, supply)
    {}

    function transfer(address to, uint256 amount) external returns (bool) {
        _move(msg.sender, to, amount);
        return true;
    }

    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        _spendAllowance(from, amount);
        _move(from, to, amount);
        return true;
    }

    /// Several payees in one transaction: deposits as an exchange's batch makes them.
    function transferMany(address[] calldata to, uint256 amount) external {
        for (uint256 i = 0; i < to.length; ++i) {
            _move(msg.sender, to[i], amount);
        }
    }
}

/// Answers false instead of reverting; moves nothing and logs nothing.
contract FalseToken is Token {
    constructor(string memory symbol_, uint8 decimals_, address holder, uint256 supply)
        Token(symbol_, decimals_, holder, supply)
    {}

    function transfer(address, uint256) external pure returns (bool) {
        return false;
    }
}

/// Logs a Transfer, answers true, and moves nothing.
contract LyingToken is Token {
    constructor(string memory symbol_, uint8 decimals_, address holder, uint256 supply)
        Token(symbol_, decimals_, holder, supply)
    {}

    function transfer(address to, uint256 amount) external returns (bool) {
        emit Transfer(msg.sender, to, amount);
        return true;
    }
}

/// Moves, and answers nothing (USDT on the main network).
contract NoReturnToken is Token {
    constructor(string memory symbol_, uint8 decimals_, address holder, uint256 supply)
        Token(symbol_, decimals_, holder, supply)
    {}

    function transfer(address to, uint256 amount) external {
        _move(msg.sender, to, amount);
    }
}

/// Keeps a hundredth of each transfer, and logs the whole of it or what arrived.
contract FeeToken is Token {
    bool public immutable logsWhole;

    constructor(string memory symbol_, uint8 decimals_, address holder, uint256 supply, bool logsWhole_)
        Token(symbol_, decimals_, holder, supply)
    {
        logsWhole = logsWhole_;
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        uint256 fee = amount / 100;
        if (logsWhole) {
            _shift(msg.sender, to, amount - fee);
            _shift(msg.sender, address(this), fee);
            emit Transfer(msg.sender, to, amount);
        } else {
            _move(msg.sender, to, amount - fee);
            _move(msg.sender, address(this), fee);
        }
        return true;
    }
}

/// Reverts while it is paused, and for addresses that are frozen.
contract PausableToken is Token {
    bool public paused;
    mapping(address => bool) public frozen;

    error Paused();
    error Frozen();

    constructor(string memory symbol_, uint8 decimals_, address holder, uint256 supply)
        Token(symbol_, decimals_, holder, supply)
    {}

    function setPaused(bool on) external {
        paused = on;
    }

    function setFrozen(address who, bool on) external {
        frozen[who] = on;
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        if (paused) revert Paused();
        if (frozen[msg.sender] || frozen[to]) revert Frozen();
        _move(msg.sender, to, amount);
        return true;
    }
}
