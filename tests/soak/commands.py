"""Many commands of an operator in one process, since each process that starts takes longer than its command.

python -m tests.soak.commands '[["policy", "set", "BTC", "payment_window_ms", "500"], …]'
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from click.testing import CliRunner

from cli.main import main


def run(commands: Sequence[Sequence[str]]) -> None:
    for arguments in commands:
        result = CliRunner().invoke(main, list(arguments), catch_exceptions=False)
        if result.exit_code != 0:
            raise SystemExit(f"coffer {' '.join(arguments)}: {result.output}")


if __name__ == "__main__":
    run(json.loads(sys.argv[1]))
