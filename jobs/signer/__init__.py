"""The signer's own check, the last before a signature, and its own record, the second line outside the database."""

from jobs.signer.signer import Signer, SignerRefused, SignRequest

__all__ = ["SignRequest", "Signer", "SignerRefused"]
