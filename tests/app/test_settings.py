from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import ConfigurationError
from app.settings import SUPERVISOR, WORKER_SLOT, Settings, variable_of

FIELDS = {variable_of(field): field for field in fields(Settings)}
LIMITED = {name: field for name, field in FIELDS.items() if field.metadata["low"] is not None}
read = Settings.from_environment


def faults(environment: dict[str, str], **overrides: Any) -> list[str]:
    """What is wrong with an environment."""
    with pytest.raises(ConfigurationError) as caught:
        read(environment, **overrides)
    return caught.value.detail.splitlines()


def test_an_empty_environment_gives_the_defaults() -> None:
    """Everything has a default, with which a service runs on one machine."""
    assert read({}) == Settings()
    assert (Settings().host, Settings().port, Settings().database_url) == ("127.0.0.1", 8000, None)


def test_defaults_lie_within_their_limits() -> None:
    """A default that the limits forbade could not be written down in an environment."""
    environment = {name: str(getattr(Settings(), field.name)) for name, field in LIMITED.items()}
    assert read(environment) == Settings()


def test_every_setting_has_a_variable_of_its_own_and_a_text() -> None:
    """Variables are CROUPIER_ and the field's name, except DATABASE_URL and OTEL_*, which other tools use too."""
    assert len(FIELDS) == len(fields(Settings))
    for name, field in FIELDS.items():
        assert name in {"DATABASE_URL", f"CROUPIER_{field.name.upper()}"} or name.startswith("OTEL_")
        assert field.metadata["doc"].endswith(".")


def test_what_the_environment_says_is_read_with_its_type() -> None:
    """Numbers are numbers, paths are paths, and empty means not given."""
    environment = {
        "DATABASE_URL": "postgresql://x",
        "CROUPIER_PORT": "0",
        "CROUPIER_DATA_DIR": "/data",
        "CROUPIER_WORKERS": "",
        "CROUPIER_LOG_LEVEL": "debug",
        "OTHER": "ignored",
    }
    settings = read(environment)
    assert settings == Settings(database_url="postgresql://x", port=0, data_dir=Path("/data"), log_level="debug")


def test_all_faults_are_told_at_once() -> None:
    """Unknown words, wrong types, limits and unknown levels: one line each, with the value that was given."""
    told = faults(
        {
            "CROUPIER_WORKER": "4",
            "CROUPIER_PORT": "eighty",
            "CROUPIER_WORKERS": "0",
            "CROUPIER_BATCH_LIMIT": "5001",
            "CROUPIER_LOG_LEVEL": "loud",
        }
    )
    assert len(told) == 5
    for line, words in zip(
        told,
        (
            ["CROUPIER_WORKER:", "no such setting", "docs/reference.md"],
            ["CROUPIER_PORT='eighty'"],
            ["CROUPIER_WORKERS='0'", "1 and 256"],
            ["CROUPIER_BATCH_LIMIT='5001'", "1 and 5000"],
            ["CROUPIER_LOG_LEVEL='loud'", "debug, info, warning or error"],
        ),
        strict=True,
    ):
        assert all(word in line for word in words), line


def test_a_setting_may_come_from_a_file(tmp_path: Path) -> None:
    """`<variable>_FILE` names it; the end of its line is no part of it. Whatever its type, and DATABASE_URL too."""
    for name, text in {"url": "postgresql://me:a b@x\n", "port": "81\r\n", "key": "k"}.items():
        (tmp_path / name).write_text(text, newline="")
    environment = {
        "DATABASE_URL_FILE": str(tmp_path / "url"),
        "CROUPIER_PORT_FILE": str(tmp_path / "port"),
        "CROUPIER_BOOTSTRAP_KEY_FILE": str(tmp_path / "key"),
        "CROUPIER_HOST_FILE": "",
    }
    assert read(environment) == Settings(database_url="postgresql://me:a b@x", port=81, bootstrap_key="k")
    assert read(environment, port=82).port == 82


def test_faults_of_files_are_told_without_what_is_in_them(tmp_path: Path) -> None:
    """A file that is missing or empty, one beside the variable itself, a wrong value, and no such setting."""
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "wrong").write_text("65536")
    told = faults(
        {
            "DATABASE_URL_FILE": str(tmp_path / "missing"),
            "CROUPIER_BOOTSTRAP_KEY_FILE": str(tmp_path / "empty"),
            "CROUPIER_HOST": "localhost",
            "CROUPIER_HOST_FILE": str(tmp_path / "wrong"),
            "CROUPIER_PORT_FILE": str(tmp_path / "wrong"),
            "CROUPIER_PROT_FILE": str(tmp_path / "wrong"),
        }
    )
    assert told == [
        "CROUPIER_PROT_FILE: no such setting. Known ones are listed in docs/reference.md",
        f"DATABASE_URL_FILE='{tmp_path}/missing': cannot be read: No such file or directory",
        f"CROUPIER_HOST_FILE='{tmp_path}/wrong': CROUPIER_HOST is set too; set one of them",
        f"CROUPIER_PORT_FILE='{tmp_path}/wrong': must lie within 0 and 65535",
        f"CROUPIER_BOOTSTRAP_KEY_FILE='{tmp_path}/empty': the file is empty",
    ]


def test_a_child_process_does_not_read_its_parents_files(tmp_path: Path) -> None:
    """Its environment has the values, and its parent's files beside them are no contradiction."""
    (tmp_path / "port").write_text("81")
    environment = {"CROUPIER_PORT_FILE": str(tmp_path / "port")}
    assert read({**environment, **read(environment).as_environment()}).port == 81


@given(st.from_regex(r"CROUPIER_[A-Z_]{1,20}", fullmatch=True))
def test_unknown_words_of_ours_are_refused(word: str) -> None:
    """A typing error in a name is found at start, unless it is a note that our processes leave their children."""
    if word.removesuffix("_FILE") in FIELDS or word in {WORKER_SLOT, SUPERVISOR}:
        return
    assert faults({word: "1"}) == [f"{word}: no such setting. Known ones are listed in docs/reference.md"]


@pytest.mark.parametrize("note", [WORKER_SLOT, SUPERVISOR])
def test_notes_between_our_processes_are_not_settings(note: str) -> None:
    """What a parent process leaves its children is no fault, and sets nothing."""
    assert read({note: "3"}) == Settings()


@pytest.mark.parametrize("variable", LIMITED)
def test_limits_are_inclusive(variable: str) -> None:
    """The least and the greatest value are taken; one less and one more are not."""
    metadata, name = LIMITED[variable].metadata, LIMITED[variable].name
    for value in (metadata["low"], metadata["high"]):
        assert getattr(read({variable: str(value)}), name) == value
    for value in (metadata["low"] - 1, metadata["high"] + 1):
        (told,) = faults({variable: str(value)})
        assert told.startswith(f"{variable}='{value}'")


def test_options_win_over_the_environment() -> None:
    """A command's option that was given is used; one that was not (None) leaves the environment's."""
    environment = {"CROUPIER_PORT": "1000", "CROUPIER_WORKERS": "5"}
    settings = read(environment, port=2000, workers=None)
    assert (settings.port, settings.workers) == (2000, 5)


@pytest.mark.parametrize(("option", "value"), [("port", 65_536), ("port", -1), ("workers", 0), ("log_level", "loud")])
def test_options_have_the_same_limits(option: str, value: object) -> None:
    """What an environment may not say, an option may not say either."""
    (told,) = faults({}, **{option: value})
    assert option.upper() in told


@given(
    host=st.sampled_from(["0.0.0.0", "::1", "localhost"]),  # noqa: S104 - nothing listens
    data_dir=st.from_regex(r"/[a-z %]{1,10}[a-z]", fullmatch=True),
    numbers=st.fixed_dictionaries(
        {f.name: st.integers(f.metadata["low"], f.metadata["high"]) for f in LIMITED.values()}
    ),
    bootstrap_key=st.none() | st.text("abc.=", min_size=1),
)
def test_a_child_process_reads_the_same_settings(
    host: str, data_dir: str, numbers: dict[str, int], bootstrap_key: str | None
) -> None:
    """`as_environment` is what `from_environment` reads back, whatever the values."""
    settings = Settings(host=host, data_dir=Path(data_dir), bootstrap_key=bootstrap_key, **numbers)  # type: ignore[arg-type]
    assert read(settings.as_environment()) == settings


def test_settings_cannot_be_changed() -> None:
    """They are read once."""
    with pytest.raises(AttributeError):
        Settings().port = 1  # type: ignore[misc]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1"])
def test_a_service_that_only_this_machine_reaches_may_ask_what_is_near(host: str) -> None:
    """So a model server beside it works without any setting; one that others reach needs one."""
    assert Settings(host=host).outgoing_guard.private
    assert not Settings(host=host, outgoing="public").outgoing_guard.private
    for open_to in ("0.0.0.0", "10.0.0.5", "::", "croupier.internal"):  # noqa: S104 - nothing listens
        assert not Settings(host=open_to).outgoing_guard.private
        assert Settings(host=open_to, outgoing="private").outgoing_guard.private


def test_what_may_be_asked_and_who_may_ask_is_checked_at_start() -> None:
    """With the word at fault."""
    told = faults(
        {
            "CROUPIER_OUTGOING": "all",
            "CROUPIER_OUTGOING_ALLOW": "models,10.0.0.1/8",
            "CROUPIER_CORS_ORIGINS": "https://shop.example/,*,https://a.example,shop.example,HTTPS://B.example",
        }
    )
    assert len(told) == 6
    for fault, part in zip(
        told, ["'all'", "10.0.0.1/8", "shop.example/", "'*'", "'shop.example'", "B.example"], strict=True
    ):
        assert part in fault


def test_origins_are_read() -> None:
    """In any number; one host may have several ports; `*` stands alone."""
    given = "https://shop.example, http://localhost:3000,http://[::1]:8080"
    assert read({"CROUPIER_CORS_ORIGINS": given}).cors == tuple(word.strip() for word in given.split(","))
    assert read({"CROUPIER_CORS_ORIGINS": "*"}).cors == ("*",)
    assert read({}).cors == ()
