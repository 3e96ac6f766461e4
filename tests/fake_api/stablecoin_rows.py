"""The rows of DefiLlama's stablecoin histories, as the server's cron writes them.

It removes zeros, what they leave empty, and rows without anything else than a date. The newest row keeps them all.
"""

from collections.abc import Mapping, Sequence

from tests.fake_api.truth import Number

Supply = Mapping[str, Number | None]  # by peg
Row = dict[str, object]


def chart_rows(points: Sequence[tuple[int, Supply, Supply]]) -> list[Row]:
    """Rows of /stablecoincharts, from a time, the units of each peg and their value in USD.

    Where units are None, nothing circulates yet, but something is unreleased.
    """
    rows: list[Row] = [
        {
            "date": str(at),
            "totalCirculating": units,
            "totalUnreleased": _unreleased(None in units.values(), "peggedUSD"),
            "totalCirculatingUSD": usd,
            "totalMintedUSD": {"peggedUSD": 0},
        }
        for at, units, usd in points
    ]
    return _without_zeros(rows)


def token_rows(points: Sequence[tuple[int, Number | None]], peg: str) -> list[Row]:
    """Rows of /stablecoin, from a time and the supply, if any: `bridgedTo` has more than the peg."""
    bridged = {peg: 5, "bridges": {"wormhole": {"Ethereum": {"amount": 5}}}}
    rows: list[Row] = [
        {
            "date": at,
            "circulating": {peg: amount},
            "minted": {peg: 7},
            "unreleased": _unreleased(amount is None, peg),
            "bridgedTo": bridged,
        }
        for at, amount in points
    ]
    return _without_zeros(rows)


def _unreleased(all_of_it: bool, peg: str) -> dict[str, int]:
    return {peg: 1_000_000 if all_of_it else 0}


def _without_zeros(rows: list[Row]) -> list[Row]:
    found = []
    for row in rows[:-1]:
        kept = {name: inner for name, value in row.items() if (inner := _without_zero(value)) or name == "date"}
        found += [kept] if len(kept) > 1 else []
    return found + rows[-1:]


def _without_zero(value: object) -> object:
    if not isinstance(value, dict):
        return value
    return {name: kept for name, inner in value.items() if (kept := _without_zero(inner))}
