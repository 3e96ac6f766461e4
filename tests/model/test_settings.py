"""What is read from the environment and .env, and how its secrets are kept out of everything printed."""

import base64
import html
import json
import logging
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from model.errors import ConfigurationError
from model.scrub import HIDDEN, Scrubber, Secrets
from model.settings import DATABASE_URL, HEARTBEAT_URL, NOTIFY_URL, Settings

KEY = "ARTEMIS_API_KEY"
LONG = 's3cr3t+key/==&<"é-\\tail'


def read(tmp_path: Path, env: str | bytes, **environment: str) -> Settings:
    file = tmp_path / ".env"
    file.write_bytes(env if isinstance(env, bytes) else env.encode())
    return Settings.read(environment, file)


def scrub(text: str, **environment: str) -> str:
    return Scrubber(Settings(environment).secrets([KEY])).scrub(text)


def test_env_completes_the_environment_which_wins(tmp_path: Path) -> None:
    settings = read(tmp_path, "A=file\nB=file\n", B="environment", C="environment")
    assert [settings.get(name) for name in "ABC"] == ["file", "environment", "environment"]


def test_a_variable_emptied_in_the_environment_is_not_filled_from_env(tmp_path: Path) -> None:
    assert read(tmp_path, f"{KEY}=abc", **{KEY: ""}).get(KEY) == ""


def test_what_is_set_nowhere_is_empty_and_env_may_be_missing(tmp_path: Path) -> None:
    settings = Settings.read({"A": "a"}, tmp_path / ".env")
    assert (settings.get("A"), settings.get("B"), settings.key(KEY), settings.secrets([KEY])) == ("a", "", "", [])


@pytest.mark.parametrize(
    "line",
    ["A=a b", "A = a b ", 'A="a b"', "A='a b'", "export A='a b'", "A=' a b\t'", "A=a b # why", "# first\n\nA=a b\r\n"],
)
def test_spaces_around_a_value_and_quotes_do_not_belong_to_it(tmp_path: Path, line: str) -> None:
    assert read(tmp_path, line).get("A") == "a b"


def test_a_name_without_a_value_is_not_set(tmp_path: Path) -> None:
    assert read(tmp_path, "A\nB=b").get("A") == ""


def test_the_mark_that_windows_editors_write_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xef\xbb\xbfA=a\nB=b").get("A") == "a"


@pytest.mark.parametrize("content", ["A=é".encode("latin-1"), "A=a".encode("utf-16")])
def test_an_env_in_another_encoding_is_refused_without_showing_it(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ConfigurationError, match=r"\.env: can't be read: ") as caught:
        read(tmp_path, content)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file that even root can't read")
def test_an_env_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="mem: can't be read: "):
        Settings.read({}, Path("/proc/self/mem"))


@pytest.mark.parametrize("key", ["abc", "  abc\n", "a-b_c.D/1+2=", ""])
def test_a_key_is_given_without_the_space_around_it(key: str) -> None:
    assert Settings({KEY: key}).key(KEY) == key.strip()


@pytest.mark.parametrize("key", ["ab cd", "ab\ncd", "ab\tcd", "abcdé", "ab\u00a0cd", "ab\0cd", '"abcd"', "'abcd'"])
def test_a_key_that_can_be_none_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(ConfigurationError, match=KEY) as caught:
        Settings({KEY: key}).key(KEY)
    assert "cd" not in str(caught.value)


def test_a_key_is_a_secret_as_it_stands_and_as_it_stands_in_a_url() -> None:
    assert scrub("GET /ab/+cd/x?key=ab%2F%2Bcd", **{KEY: "ab/+cd"}) == f"GET /{HIDDEN}/x?key={HIDDEN}"


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("postgresql://me:s3cret@host/db", "s3cret"),
        ("postgres://me:s3cret@host/db", "s3cret"),
        ("postgresql://me:p%40ss%20word@host/db", "p@ss word"),
        ("postgresql://me:p%40ss%20word@host/db", "p%40ss%20word"),
        ("postgresql://me:p?ss#w@host/db", "p?ss#w"),
        ("postgresql://me@host/db?password=s3cret&connect_timeout=1", "s3cret"),
        ("postgresql://me@host/db?sslpassword=s3c%20ret", "s3c ret"),
        ("mysql://me@host/db?sslpassword=s3cret", "s3cret"),
        ("host=h sslpassword=s3cret user=me", "s3cret"),
        ("host=h password=s3cret user=me", "s3cret"),
        ("host=h password='my s3cret' user=me", "my s3cret"),
        (r"host=h password = 'it\'s s3cret'", "it's s3cret"),
        ("postgresql+psycopg2://me:s3cret@host/db", "s3cret"),
        ("mysql://me:p%40ss@host/db", "p@ss"),
        ("postgresql://me:s3c@ret@host/db", "s3c@ret"),
        ("postgresql://me:s3c/ret@host/db", "s3c/ret"),
    ],
)
def test_the_password_of_a_database_url_is_a_secret_however_it_is_written(url: str, text: str) -> None:
    assert scrub(f"it said {text}, then", **{DATABASE_URL: url}) == f"it said {HIDDEN}, then"


@pytest.mark.parametrize("url", ["", "postgresql://me@host/db", "postgresql:///db", "host=h dbname=db", "rubbish"])
def test_a_database_url_without_a_password_hides_nothing(url: str) -> None:
    assert Settings({DATABASE_URL: url}).secrets([KEY]) == []


def test_an_empty_key_hides_nothing() -> None:
    assert scrub("all of it", **{KEY: "", DATABASE_URL: "postgresql://me:@host/db"}) == "all of it"


@pytest.mark.parametrize("secret", ["a", "el", "pul"])
def test_a_secret_too_short_to_be_one_does_not_make_the_log_unreadable(secret: str) -> None:
    text = "artemis pull: the password is wrong"
    assert scrub(text, **{KEY: secret, DATABASE_URL: f"postgresql://me:{secret}@host/db"}) == text


def test_four_characters_are_hidden() -> None:
    assert scrub("wxyz", **{KEY: "wxyz"}) == HIDDEN


WRITTEN = {
    "in a URL": quote(LONG, safe=""),
    "in a URL in lower case": re.sub("%..", lambda found: found[0].lower(), quote(LONG, safe="")),
    "in a URL twice": quote(quote(LONG, safe=""), safe=""),
    "in HTML": html.escape(LONG),
    "in HTML twice": html.escape(html.escape(LONG)),
    "in numbers of HTML": "".join(f"&#{ord(each)};" for each in LONG),
    "in hexadecimal numbers of HTML": "".join(f"&#x{ord(each):X};" for each in LONG),
    "in JSON": json.dumps(LONG)[1:-1],
    "in JSON with each character escaped": "".join(f"\\u{ord(each):04X}" for each in LONG),
    "in JSON with its slashes escaped": LONG.replace("/", "\\/"),
    "in a repr of a repr": repr(repr(LONG))[3:-3],
    "without its end": LONG[:6],
    "without its begin": LONG[-8:],
    "without either": LONG[5:14],
}


@pytest.mark.parametrize("form", WRITTEN)
def test_a_secret_is_hidden_however_a_server_writes_it(form: str) -> None:
    assert Secrets([LONG]).hide(f"100 % é & \\ {WRITTEN[form]} %x") == f"100 % é & \\ {HIDDEN} %x"


@pytest.mark.parametrize("user", ["", "u:", "us:", "use:"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_of_a_secret_in_base64_at_most_its_ends_are_left(user: str, encode: Callable[[bytes], bytes]) -> None:
    text = encode(f"{user}{LONG}:".encode()).decode()
    left = Secrets([LONG]).hide(text)
    assert HIDDEN in left
    assert len(left.replace(HIDDEN, "")) <= len(encode(user.encode())) + 4


def test_five_characters_of_a_secret_are_no_secret() -> None:
    text = f"{LONG[:5]} {LONG[-5:]} %2 &amp \\u12 \\"
    assert Secrets([LONG]).hide(text) == text


def test_a_secret_that_is_no_text_is_hidden_too() -> None:
    secret = os.fsdecode(b"ab\xffcdefgh")
    assert Secrets([secret]).hide(f"before {secret} after") == f"before {HIDDEN} after"


def test_a_word_in_a_secret_is_hidden_with_the_secret_only() -> None:
    secrets = Secrets(["crypto-metrics-of-Artemis", "password"])
    text = "crypto-metrics pull artemis: METRICS of Artemis, passwor"
    assert secrets.hide(text.replace("crypto-", "crypto ")) == text.replace("crypto-", "crypto ")
    assert secrets.hide("a crypto-metrics-of-Artemis b password c") == f"a {HIDDEN} b {HIDDEN} c"


def test_of_two_secrets_one_inside_the_other_nothing_is_left() -> None:
    environment = {KEY: "abcdef", DATABASE_URL: "postgresql://u:xxabcdefxx@h/d"}
    assert scrub("1 xxabcdefxx 2 abcdef", **environment) == f"1 {HIDDEN} 2 {HIDDEN}"


def test_secrets_are_hidden_in_messages_arguments_and_tracebacks() -> None:
    word = "top\\s3cret"
    settings = Settings({DATABASE_URL: f"postgresql://me:{word}@host/db"})
    scrubber = Scrubber(settings.secrets([KEY]), "%(levelname)s %(message)s")
    try:
        raise ValueError(word, {"key": word})
    except ValueError:
        caught = sys.exc_info()
    record = logging.LogRecord("log", logging.ERROR, __file__, 1, f"{word} %s %r", (word, [word]), caught)
    text = scrubber.format(record)
    assert text.startswith(f"ERROR {HIDDEN} {HIDDEN} ['{HIDDEN}']\nTraceback")
    assert "s3cret" not in text


@pytest.mark.parametrize(
    ("url", "token"),
    [
        ("https://hooks.slack.com/services/T0ABC/B0DEF/x1Y2z3", "x1Y2z3"),
        ("https://hooks.slack.com/services/T0ABC/B0DEF/x1Y2z3", "T0ABC/B0DEF"),
        ("https://api.telegram.org/bot123:AA-token_1/sendMessage?chat_id=-1001", "123:AA-token_1"),
        ("https://api.telegram.org/bot123:AA-token_1/sendMessage?chat_id=-1001", "-1001"),
        ("https://host/hook/x1Y2z3==?k=x4Y5z6==#x7Y8z9", "x1Y2z3=="),
        ("https://host/hook/x1Y2z3==?k=x4Y5z6==#x7Y8z9", "x4Y5z6=="),
        ("https://host/hook/x1Y2z3==?k=x4Y5z6==#x7Y8z9", "x7Y8z9"),
        ("https://hc-ping.com/3fa8e2d1-77aa-4c5e-9d0f-1b2c3d4e5f60/fail", "3fa8e2d1-77aa-4c5e-9d0f-1b2c3d4e5f60"),
        ("https://me:pass@ntfy.example.com/topic", "pass"),
        ("https://tk_7eevi1@ntfy.example.com/topic", "tk_7eevi1"),
        ("hooks.slack.com/services/x1Y2z3", "x1Y2z3"),  # a wrong URL
        ("https://[host/x1Y2z3", "x1Y2z3"),
        ("https://host?t=x1Y2z3", "x1Y2z3"),
        ("https://host/abcdefghijklmnopqrstuvwx", "abcdefghijklmnopqrstuvwx"),  # too long for a word
    ],
)
@pytest.mark.parametrize("variable", [NOTIFY_URL, HEARTBEAT_URL])
def test_the_tokens_of_a_webhook_are_secrets(variable: str, url: str, token: str) -> None:
    said = scrub(f"it said {token}, then", **{variable: url})
    assert token not in said
    assert re.fullmatch(r"it said [*/]+, then", said)


def test_the_words_in_the_url_of_a_webhook_are_not_hidden() -> None:
    words = "python main.py pull defillama; systemctl restart crypto-metrics; POST /api/webhooks/sendMessage to ntfy.sh"
    for url in ("https://ntfy.sh/crypto-metrics", "https://host/api/webhooks/pull/sendMessage?q=defillama", "nonsense"):
        assert scrub(words, **{NOTIFY_URL: url}) == words


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://127.0.0.1:8080",
        "https://api.example/base",
        "http://[::1]:80",
        "http://my_host",
        "http://h.",
        "http://é.fr",
    ],
)
def test_a_url_of_a_server_is_taken(url: str) -> None:
    assert Settings({"BASE": url}).url("BASE") == url


@pytest.mark.parametrize(
    "url",
    [
        "localhost:99",
        "ftp://host",
        "http://",
        "https:///path",
        "api.example",
        "http://h:port",
        "http://h/a b",
        "http://[h",
        "http://a..b",
        f"http://{'a' * 64}.com",
    ],
)
def test_what_is_no_url_of_a_server_is_refused_with_its_variable(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^BASE is not the URL of a server: write http"):
        Settings({"BASE": url}).url("BASE")


@pytest.mark.parametrize(
    ("key", "url", "exposed"),
    [
        ("a-key", "http://192.0.2.1:80/x", True),
        ("a-key", "http://api.example.com", True),
        ("a-key", "https://api.example.com", False),
        ("a-key", "http://127.0.0.1:8000", False),
        ("a-key", "http://[::1]:8000", False),
        ("a-key", "http://localhost", False),
        ("a-key", "http://api.example.com?of=a-key", True),
        ("a-key", "", False),
        ("", "http://api.example.com", False),
    ],
)
def test_a_key_that_goes_unencrypted_over_a_network_is_exposed(
    key: str, url: str, exposed: bool, tmp_path: Path
) -> None:
    settings = Settings({"KEY": key, "URL": url})
    found = list(settings.exposed("KEY", "URL", tmp_path / ".env"))
    assert [where for where, _, _ in found] == (["URL"] if exposed else [])
    assert not any("a-key" in text for each in found for text in each)


@pytest.mark.parametrize(
    ("mode", "text", "exposed"), [(0o600, "KEY=a", False), (0o644, "KEY=a", True), (0o644, "B=b", False)]
)
def test_a_key_in_an_env_that_every_user_can_read_is_exposed(
    mode: int, text: str, exposed: bool, tmp_path: Path
) -> None:
    file = tmp_path / ".env"
    file.write_text(text)
    file.chmod(mode)
    found = list(Settings({"KEY": "a"}).exposed("KEY", "URL", file))
    assert [remedy for _, _, remedy in found] == ([f"chmod 600 {file}"] if exposed else [])
