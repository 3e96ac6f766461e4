"""`check --confirm`: accepts the other asset that an API now means by the identifier of a config row."""

from collections.abc import Sequence

from cli.process import open_database
from db.identities import confirm, identities
from db.session import session_for
from db.setup import ensure_schema
from model.errors import ConfigurationError
from model.settings import Settings
from model.text import nearest


def confirm_assets(names: Sequence[str], assets: Sequence[str], settings: Settings) -> None:
    """Accept the other assets that these sources mean by the rows of `assets`, and print each.

    Raises ConfigurationError, with nothing written, for a row by which the API still means the same asset.
    """
    if not settings.has_database():  # this command creates none
        raise ConfigurationError("--confirm: nothing is stored yet, so no asset can have changed")
    with open_database(settings) as database:
        ensure_schema(database)
        with session_for(database, "check") as session, session, session.cursor() as cursor:
            changed = {each.asset for name in names for each in identities(cursor, name) if each.other_identity}
            for asset in assets:
                if asset not in changed:
                    hint = nearest(asset, changed) if changed else "no asset has changed"
                    raise ConfigurationError(f"--confirm {asset}: the API means no other asset by this row: {hint}")
            accepted = [(name, row) for name in names for asset in assets for row in confirm(cursor, name, asset)]
    for name, row in accepted:
        print(f"{name} {row.asset}: from now on this is {row.title} ({row.identity})")
