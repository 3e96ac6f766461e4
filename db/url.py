"""The connection string of a database as a URL, which most tools take."""

from collections.abc import Mapping
from urllib.parse import quote, urlencode

from model.settings import DATABASE_SECRETS


def url_of(parts: Mapping[str, str], *, with_password: bool = False) -> str:
    """The URL with these parameters of libpq; without `with_password`, its secrets are left out.

    What the front of a URL can't hold, such as the folder of a socket or several hosts, follows the question mark.
    """
    left = {name: value for name, value in parts.items() if with_password or name not in DATABASE_SECRETS}
    user, password = left.pop("user", ""), left.pop("password", "")
    name = left.pop("dbname", "")
    login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    host = left.get("host", "")
    place = ""
    if host and not set(host) & set("/,@"):
        place = f"[{host}]" if ":" in host else quote(host, safe="")
        del left["host"]
        place += f":{left.pop('port')}" if "port" in left else ""
    front = f"{login}@" if login else ""
    more = f"?{urlencode(left, quote_via=quote, safe='')}" if left else ""
    return f"postgresql://{front}{place}/{quote(name, safe='')}{more}"
