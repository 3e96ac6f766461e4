"""The names of the rules that flag odd values, and the quantities that two sources measure alike."""

from enum import StrEnum
from typing import NamedTuple


class FlagRule(StrEnum):
    """A rule of query/flag_rules.py; also its name in the column flags_off of a config."""

    FLAT = "flat"
    ZERO = "zero"
    JUMP = "jump"
    DRIFT = "drift"


class Quantity(NamedTuple):
    """What a metric measures, where sources measure it alike: their values of one entity are compared."""

    name: str
    tolerance: float  # the share of the larger value by which two sources may differ


# Both sources date a price at midnight UTC. DefiLlama's may have been observed hours before or after it, and few coins
# move by a tenth on three days in a row, in the same direction, in that time.
COIN_PRICE = Quantity("price of a coin", 0.1)
# Sources differ in what they count, such as liquid staking, or value that is counted twice. Half of the larger value is
# beyond that.
APPLICATION_TVL = Quantity("value locked in an application", 0.5)
CHAIN_TVL = Quantity("value locked on a chain", 0.5)
CHAIN_STABLECOINS = Quantity("stablecoins on a chain", 0.5)
