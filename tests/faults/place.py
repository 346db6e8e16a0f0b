"""Where a case lives, in words that a forked child can be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECRET, MAC_KEY = "5a" * 32, "6b" * 32


@dataclass(frozen=True)
class Place:
    """Its folder, its database, its kind of chain, and how that chain's nodes are reached."""

    folder: str
    database_url: str
    kind: str
    urls: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return Path(self.folder)

    def common_settings(self) -> dict[str, Any]:
        """What Coffer is told whatever its chain is."""
        return {
            "mode": "test",
            "database_url": self.database_url,
            "api_secret": SECRET,
            "row_mac_key": MAC_KEY,
            "signer_dir": self.path / "signer",
            "api_rate_limit": "1000000/minute",
            "redis_url": None,
        }
