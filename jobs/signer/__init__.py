"""The signer's own check, the last before a signature, and its own record, the second line outside the database."""

from jobs.signer.request import SignerRefused, SignRequest
from jobs.signer.signer import Signer

__all__ = ["SignRequest", "Signer", "SignerRefused"]
