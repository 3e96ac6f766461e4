"""How much a provider may restate before a person must decide."""

from typing import NamedTuple


class RestatementBounds(NamedTuple):
    """The bounds of a usual restatement.

    They come from recorded answers of DefiLlama: 341 snapshots of 62 series, up to four weeks apart. Of 1,304 pairs,
    430 differ in closed days, and none would wait. A day of one protocol changed by 10 %. In one night, up to 742 of
    3,173 days of a stablecoin chart changed, by 0.01 %, and 19 by up to 0.4 %; up to 507 of 3,232 days of the chart of
    all chains, by 0.06 %, and 255 by up to 0.3 %. A common factor, a block of zeros and a block of withdrawn days were
    never seen. Providers also fill holes of months in their history.
    """

    withdrawn_days: int = 3  # at once; single days do vanish
    times_neighbours: float = 10.0  # the range of neighbouring values, up and down; and above all stored values
    least_change: float = 2.0  # as a factor; a spike is far from its neighbours and may change by less
    small_change: float = 0.01  # as a share; smaller ones do not count, however many there are
    many_days: int = 8  # changed by more than that; of the ten days of a night, all but two
    share_of_days: float = 0.25  # the same, of the days that were compared; half more than what was seen
    days_of_one_factor: int = 5  # that change by the same factor: no chance, but a new scale or definition
    series_of_one_factor: int = 5  # the same for series of one metric
