"""Everything that is known of one id, transaction or address, as one timeline: requests, transitions, postings,
candidates, events, operators' acts, and where a deposit's money went. Reads only.
"""

from jobs.amounts import amount
from jobs.explain.gather import Explanation, explain
from jobs.explain.moments import Moment

__all__ = ["Explanation", "Moment", "amount", "explain"]
