"""What a challenger or an auditor goes by that attacks honest claims."""

from typing import Any

from tao.protocol.challenger import Finding, GivenUp, Measured
from tao.protocol.views import ClaimView, DisputeView


class Liar:
    """Finds fault with everything and can prove nothing; in all else it is the judge that it stands before.

    exceedance: what it says of the operator left.
    """

    def __init__(self, judge: Any, exceedance: float) -> None:
        self._judge, self._exceedance = judge, exceedance

    def __getattr__(self, name: str) -> Any:
        return getattr(self._judge, name)

    def suspicious(self, claim: ClaimView, now: int) -> bool:
        return True

    def deviation(self, dispute: DisputeView, child: int) -> float:
        return 1e6 if child == 1 else 0.0

    def examine(self, dispute: DisputeView, given_up: GivenUp) -> Finding:
        return Measured(self._exceedance)

    def difference(self, claim: ClaimView) -> str:
        return "so it says"
