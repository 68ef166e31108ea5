"""Settings: precedence, origins, strict keys, and keys that never show."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from unittest import mock

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hyperagent.cli.settings import DEFAULT, PREFIX, Settings, resolve
from hyperagent.errors import ConfigError

KEY = "sk-planted-0123456789abcdef"
TEXT = st.text("abcdefgh", min_size=1, max_size=8)
VALUES = {
    "team": TEXT,
    "topology": TEXT,
    "backend": TEXT,
    "model": TEXT,
    "base_url": TEXT,
    "api_key": TEXT,
    "data": TEXT,
    "prices": TEXT,
    "budget_tokens": st.integers(1, 10**9),
    "concurrency": st.integers(1, 1000),
    "seed": st.integers(-(10**9), 10**9),
    "timeout": st.floats(0.5, 1e6).map(lambda seconds: round(seconds, 2)),
}
PLACES = ["flag", "environment", "hyperagent.yaml", "user"]


@contextlib.contextmanager
def world(environment: dict[str, str], here: dict | None, user: dict | None):
    """An empty folder and home with these variables and files."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        kept = {"PATH": os.environ["PATH"], "HOME": folder}
        if here is not None:
            Path("hyperagent.yaml").write_text(yaml.safe_dump(here))
        if user is not None:
            path = Path(folder, ".config", "hyperagent", "hyperagent.yaml")
            path.parent.mkdir(parents=True)
            path.write_text(yaml.safe_dump(user))
        with mock.patch.dict(os.environ, {**kept, **environment}, clear=True):
            yield


def plain(value: object) -> object:
    return value.get_secret_value() if hasattr(value, "get_secret_value") else value


def test_every_key_is_in_the_property():
    assert set(VALUES) == set(Settings.model_fields)


@given(st.data())
def test_a_flag_goes_before_environment_before_file_before_default(data):
    layers: dict[str, dict] = {place: {} for place in PLACES}
    for key, values in VALUES.items():
        for place in data.draw(st.sets(st.sampled_from(PLACES)), label=key):
            layers[place][key] = data.draw(values, label=f"{key} in {place}")
    variables = {PREFIX + key.upper(): str(v) for key, v in layers["environment"].items()}
    with world(variables, layers["hyperagent.yaml"], layers["user"]):
        found = resolve(layers["flag"])
    for key, field in Settings.model_fields.items():
        place = next((p for p in PLACES if key in layers[p]), None)
        expected = field.default if place is None else layers[place][key]
        assert plain(getattr(found.values, key)) == expected, key
        origin = found.origins[key]
        if place == "flag":
            assert origin == f"--{key.replace('_', '-')}"
        elif place == "environment":
            assert origin == PREFIX + key.upper()
        elif place == "user":
            assert origin.endswith(".config/hyperagent/hyperagent.yaml")
        else:
            assert origin == (place or DEFAULT)


def test_a_named_file_is_the_only_one(tmp_path):
    named = tmp_path / "mine.yaml"
    named.write_text("seed: 7\n")
    for variables, file in (({}, str(named)), ({"HYPERAGENT_CONFIG": str(named)}, None)):
        with world(variables, {"seed": 1, "team": "code"}, {"team": "math"}):
            found = resolve(file=file)
        assert (found.values.seed, found.values.team) == (7, None)
        assert found.files == (str(named),)


def test_an_empty_file_sets_nothing(tmp_path):
    named = tmp_path / "empty.yaml"
    for text in ("", "# nothing yet\n\n", "seed:\n"):
        named.write_text(text)
        with world({}, None, None):
            assert resolve(file=str(named)).values.seed == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("temperature: 1", "unknown key 'temperature'"),
        ("budget_token: 5", "Did you mean 'budget_tokens'?"),
        (f"api_kye: {KEY}", "Did you mean 'api_key'?"),
        ("budget_tokens: 0", "budget_tokens"),
        ("timeout: soon", "timeout"),
        ("- a list", "must hold a mapping"),
        (f'api_key: "{KEY}', "is not YAML: line"),
        ("api_key: 12345678901234", "api_key must be a string"),
        (f"api_key: [{KEY}]", "api_key must be a string"),
    ],
)
def test_a_wrong_file_names_itself_and_never_the_key(text, expected, tmp_path):
    named = tmp_path / "wrong.yaml"
    named.write_text(text)
    with world({}, None, None), pytest.raises(ConfigError) as caught:
        resolve(file=str(named))
    message = str(caught.value)
    assert message.startswith(str(named))
    assert expected in message
    assert "\n" not in message
    assert KEY not in message
    assert "12345678901234" not in message


def test_a_wrong_variable_names_itself():
    with world({"HYPERAGENT_SEED": "many"}, None, None), pytest.raises(ConfigError) as caught:
        resolve()
    assert "HYPERAGENT_SEED" in str(caught.value)


def test_a_variable_that_nothing_reads_is_reported(capsys):
    with world({"HYPERAGENT_BUGDET_TOKENS": "5"}, None, None):
        resolve()
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "did you mean HYPERAGENT_BUDGET_TOKENS?" in said


def test_openai_variables_stay_with_the_openai_backend():
    """A key for one service must not be handed to another."""
    given_ = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "http://a/v1"}
    with world(given_, {"base_url": "http://b/v1"}, None):
        found = resolve()
        assert found.values.base_url == "http://a/v1"
        assert found.origins["base_url"] == "OPENAI_BASE_URL"
        assert found.options() == {}
    own = {"HYPERAGENT_API_KEY": "own-key-0000", "HYPERAGENT_BASE_URL": "http://c/v1"}
    with world({**given_, **own}, None, None):
        options = resolve().options()
    assert options["api_key"].get_secret_value() == "own-key-0000"
    assert options["base_url"] == "http://c/v1"


@pytest.mark.parametrize(
    ("flags", "variables", "here", "expected"),
    [
        ({}, {}, None, None),
        ({"model": "m"}, {}, None, "openai:m"),
        ({"backend": "b:x"}, {}, None, "b:x"),
        ({"model": "m"}, {"HYPERAGENT_BACKEND": "b:x"}, None, "openai:m"),
        ({"backend": "b:x"}, {"HYPERAGENT_MODEL": "m"}, {"model": "n"}, "b:x"),
        ({}, {"HYPERAGENT_MODEL": "m"}, {"backend": "b:x"}, "openai:m"),
        ({}, {}, {"backend": "b:x"}, "b:x"),
    ],
)
def test_the_nearer_of_backend_and_model_counts(flags, variables, here, expected):
    with world(variables, here, None):
        assert resolve(flags).spec() == expected


def test_nothing_shows_the_key():
    with world({"HYPERAGENT_API_KEY": KEY}, None, None):
        found = resolve()
    assert KEY not in repr(found) + str(found.values) + repr(found.values.model_dump())
