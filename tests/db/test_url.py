"""Connection strings as URLs."""

import pytest
from psycopg2.extensions import parse_dsn

from db.url import url_of

SECRET = "s3:cr/et @?&%é"  # noqa: S105 - of this test


@pytest.mark.parametrize(
    "parts",
    [
        {"host": "db.example.com", "port": "6432", "user": "me", "dbname": "metrics", "sslmode": "require"},
        {"host": "/var/run/a folder", "port": "5432", "user": "metrics", "dbname": "metrics"},
        {"host": "one,two", "port": "1,2", "dbname": "a/b?c"},
        {"host": "::1", "user": "o'brien@home", "dbname": "é"},
        {"host": "@abstract", "dbname": "metrics"},
        {"hostaddr": "127.0.0.1", "options": "-c search_path=mine", "dbname": "metrics"},
        {"dbname": "metrics"},
        {"host": "db", "user": "me"},
    ],
    ids=lambda parts: parts.get("host", ""),
)
def test_a_url_has_all_parameters_and_its_secrets_only_if_asked(parts: dict[str, str]) -> None:
    secret = parts | {"password": SECRET, "sslpassword": SECRET}
    assert parse_dsn(url_of(secret, with_password=True)) == secret
    assert parse_dsn(url_of(secret)) == parts
