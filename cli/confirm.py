"""`check --confirm`: accepts the other asset that an API now means by the identifier of a config row."""

import logging
from collections.abc import Sequence

from cli.process import open_database
from db.identities import confirm, identities
from db.session import session_for
from model.errors import ConfigurationError
from model.settings import Settings
from model.text import nearest
from pipeline.tables import ensure_tables

log = logging.getLogger(__name__)


def confirm_assets(names: Sequence[str], assets: Sequence[str], settings: Settings) -> None:
    """For each of these rows, accept the asset that the API means now, and log it.

    Raises ConfigurationError, with nothing written, for a row whose asset has not changed, or has in several sources.
    """
    if not settings.has_database():  # this command creates none
        raise ConfigurationError("--confirm: nothing is stored yet, so no asset can have changed")
    with open_database(settings) as database:
        ensure_tables(database)
        with session_for(database, "check") as session, session, session.cursor() as cursor:
            changed = {
                name: {each.asset for each in identities(cursor, name) if each.other_lasting_id} for name in names
            }
            for asset in assets:
                sources = [name for name in names if asset in changed[name]]
                if not sources:
                    known = set().union(*changed.values())
                    hint = nearest(asset, known) if known else "no row has changed"
                    raise ConfigurationError(f"--confirm {asset}: the API still means the same asset by it: {hint}")
                if len(sources) > 1:
                    raise ConfigurationError(f"--confirm {asset}: name one source: {' or '.join(sources)}")
            accepted = [(name, row) for name in names for asset in assets for row in confirm(cursor, name, asset)]
    for name, row in accepted:
        log.info("%s %s: from now on this is %s", name, row.asset, row.before)
