"""The command `url`."""

from pathlib import Path

from tests.commands import copy_tree, environment, run, run_process

PASSWORD = "s3cr3t"  # noqa: S105 - of this test
URL = f"postgresql://me:{PASSWORD}@db.example.com:6432/metrics?sslmode=require"


def test_the_password_is_left_out_unless_it_is_asked_for() -> None:
    plain = run("main.py url", env=environment(URL))
    assert (plain.returncode, plain.stdout) == (0, "postgresql://me@db.example.com:6432/metrics?sslmode=require\n")
    assert "python main.py url --password prints it, too" in plain.stderr
    assert PASSWORD not in plain.stderr
    whole = run("main.py url --password", env=environment(URL))
    assert (whole.returncode, whole.stdout) == (0, f"{URL}\n")
    assert PASSWORD not in whole.stderr


def test_without_a_password_nothing_is_said_of_one() -> None:
    found = run("main.py url", env=environment("host=db dbname=metrics"))
    assert (found.stdout, "password" in found.stderr) == ("postgresql://db/metrics\n", False)


def test_without_a_database_none_is_made_and_a_wrong_port_is_one_line(tmp_path: Path) -> None:
    copy_tree(root := tmp_path / "copy")
    found = run_process("main.py url", env=environment(""), root=root)
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr == "error: there is no database yet: python main.py setup creates one\n"
    for wrong in ("x", "80", "70000", "-1", "٥٤٣٢"):
        found = run_process("main.py setup", env=environment("", EMBEDDED_PORT=wrong), root=root)
        assert found.returncode == 2
        assert "error: EMBEDDED_PORT is not a port: write a number from 1024 to 65535, such as 5433" in found.stderr
    assert not (root / ".data").exists()
