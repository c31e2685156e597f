"""What a user is told whose settings of the SDK name credentials or addresses that cannot be used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud import clients
from cloud.clients import client
from cloud.credentials import credentials
from cloud.errors import ERRORS, Kind, classify, describe, lack_of_credentials, may_pass
from cloud.unusable import UnusableSettingsError
from local.processes import ROOT, Aws
from local.resources import REGION
from tests.agent import VARIABLE as FULL_URI
from tests.agent import agent, free_port

ROLE = "arn:aws:iam::123456789012:role/camera"
ROLE_OF = f"[default]\nrole_arn = {ROLE}\nsource_profile = base\n"
BASE = "[profile base]\naws_access_key_id = A\naws_secret_access_key = B\n"
EXPIRED = {"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b", "Expiration": "2001-01-01T00:00:00Z"}
TOKEN_FILE = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of the SDK's files, in a machine that has no other settings of it."""
    for name in os.environ:
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    clients._session.cache_clear()
    credentials.forget()
    yield tmp_path
    clients._session.cache_clear()
    credentials.forget()


def process(command: str) -> str:
    return f"[default]\ncredential_process = {command}\n"


@pytest.mark.filterwarnings("ignore::getpass.GetPassWarning")  # there is no terminal
@pytest.mark.parametrize(
    ("config", "variables", "kind", "text"),
    [
        ("", {}, Kind.CREDENTIALS, "Unable to locate"),
        (process("/no/such/program"), {}, Kind.CREDENTIALS, "No such file or directory: '/no/such/program'"),
        (process("/etc"), {}, Kind.CREDENTIALS, "Permission denied: '/etc'"),
        (process(""), {}, Kind.CREDENTIALS, "not of the form"),
        (process("echo []"), {}, Kind.CREDENTIALS, "not of the form"),
        (process("echo hello"), {}, Kind.CREDENTIALS, "Expecting value"),
        (process(f"echo '{json.dumps(EXPIRED)}'"), {}, Kind.EXPIRED, "still expired"),
        (process("false"), {}, Kind.PASSING, "custom-process"),
        ("", {"AWS_ACCESS_KEY_ID": "A"}, Kind.CREDENTIALS, "missing: AWS_SECRET_ACCESS_KEY"),
        ("", {"AWS_WEB_IDENTITY_TOKEN_FILE": "/no/such", "AWS_ROLE_ARN": ROLE}, Kind.CREDENTIALS, "'/no/such'"),
        ("", {FULL_URI: "http://127.0.0.1:9/x", TOKEN_FILE: "/no/such"}, Kind.CREDENTIALS, "'/no/such'"),
        ("", {FULL_URI: "http://example.com/x"}, Kind.CREDENTIALS, "Unsupported host 'example.com'"),
        (ROLE_OF, {}, Kind.CREDENTIALS, '"base" referenced in the profile "default" does not exist'),
        (ROLE_OF + "mfa_serial = x\n" + BASE, {}, Kind.CREDENTIALS, "asks for an MFA code"),
        (ROLE_OF + BASE, {}, Kind.PASSING, "Could not connect"),
        (f"[default]\nlogin_session = {ROLE}\n", {}, Kind.CREDENTIALS, "botocore[crt]"),
        (
            "[default]\nsso_start_url = https://x\nsso_account_id = 1\n",
            {},
            Kind.CREDENTIALS,
            "missing required configuration",
        ),
    ],
)
def test_credentials_that_cannot_be_had_are_an_error_of_the_call(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    config: str,
    variables: dict[str, str],
    kind: Kind,
    text: str,
) -> None:
    (home / "config").write_text(config)
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: SIM115
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    made = client("kinesis", REGION, endpoint_url=f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")  # STS's
    with pytest.raises(ERRORS) as caught:
        made.list_streams()
    assert classify(caught.value) is kind
    assert text in describe(caught.value)
    assert (lack_of_credentials(caught.value) is not None) == (kind is Kind.CREDENTIALS)


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
@pytest.mark.parametrize("value", ["ASecretThing\n", "ASecret\r\nThing", "ASecret\x00Thing"])
def test_a_secret_that_cannot_be_sent_is_not_shown(home: Path, name: str, value: str) -> None:
    file = home / "credentials.json"
    known = {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "B", "AWS_SESSION_TOKEN": "C"} | {name: value}
    names = zip(("AccessKeyId", "SecretAccessKey", "SessionToken"), known.values(), strict=True)
    file.write_text(json.dumps({"Version": 1, **dict(names)}))
    (home / "config").write_text(process(f"cat {file}"))
    with pytest.raises(ERRORS) as caught:
        client("s3", REGION, endpoint_url=f"http://127.0.0.1:{free_port()}").list_buckets()
    assert classify(caught.value) is Kind.CREDENTIALS
    assert "has a line's end or a control character in it" in str(caught.value)
    assert "ASecret" not in str(caught.value)


@pytest.mark.parametrize(
    ("endpoint", "text"),
    [
        ("http://127.0.0.1:99999", "Port out of range"),
        ("http://127.0.0.1:x", "Port could not be cast"),
        ("ftp://127.0.0.1", "an endpoint is http://host:port"),
        ("//127.0.0.1", "an endpoint is http://host:port"),
        ("http://camera:ASecret@127.0.0.1", "an endpoint is http://host:port or https://host:port, without a user"),
        ("http://[::1", "Invalid IPv6 URL"),
    ],
)
def test_an_address_that_cannot_be_used_allows_no_client(home: Path, endpoint: str, text: str) -> None:
    with pytest.raises(UnusableSettingsError, match=text) as caught:
        client("kinesis", REGION, endpoint_url=endpoint)
    assert "ASecret" not in str(caught.value)


@pytest.mark.parametrize(
    "config", ["[default]\nservices = x\n[services x]\nkinesis = foo\n", "[default]\napi_versions = x\n"]
)
def test_files_of_another_form_allow_no_client(home: Path, config: str) -> None:
    (home / "config").write_text(config)
    with pytest.raises(UnusableSettingsError, match="not of the form"):
        client("kinesis", REGION)


def test_a_region_with_a_lines_end_allows_no_client(home: Path) -> None:
    with pytest.raises(UnusableSettingsError, match=r"'eu-central-1\\n'"):
        client("kinesis", "eu-central-1\n", endpoint_url="http://127.0.0.1:9")


def test_credentials_whose_service_is_away_come_when_it_is_there(
    home: Path, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task starts while its agent, which has the role's credentials, is still busy."""
    port = free_port()
    monkeypatch.setenv(FULL_URI, f"http://127.0.0.1:{port}/role")
    made = client("kinesis", REGION, endpoint_url=aws.url)
    with pytest.raises(ERRORS) as caught:
        made.list_streams()
    assert may_pass(caught.value)
    with agent(port):
        assert "StreamNames" in made.list_streams()


COMMANDS = {
    "producer": ("-m", "producer", "send", "demo"),
    "consumer": ("-m", "consumer", "watch", "--queue-url", "https://sqs.eu-central-1.amazonaws.com/1/results"),
    "doctor": ("-m", "doctor"),
    "smoke": ("-m", "stacks.cli", "smoke"),
}


def test_they_are_looked_for_once(home: Path) -> None:
    runs = home / "runs"
    known = json.dumps({"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b", "AccountId": "123456789012"})
    program = home / "program"
    program.write_text(f"echo >> {runs}\necho '{known}'\n")
    (home / "config").write_text(process(f"sh {program}"))
    assert credentials.get_deferred_property("account_id")() == "123456789012"
    assert credentials.get_frozen_credentials().access_key == "a"
    assert runs.read_text() == "\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(
    ("config", "variables"),
    [
        (process("/no/such/program"), {}),
        ("", {"AWS_WEB_IDENTITY_TOKEN_FILE": "/no/such/program", "AWS_ROLE_ARN": ROLE}),
        ("", {"AWS_ENDPOINT_URL": "http://127.0.0.1:99999"}),
        ("[default", {}),
    ],
)  # fmt: skip
def test_commands_tell_it_without_a_traceback(home: Path, name: str, config: str, variables: dict[str, str]) -> None:
    (home / "config").write_text(config)
    env = dict(os.environ) | {"AWS_REGION": REGION, "KINESIS_STREAM_NAME": "demo"} | variables
    done = subprocess.run(
        [sys.executable, *COMMANDS[name]], env=env, cwd=ROOT, capture_output=True, text=True, check=False
    )
    told = done.stdout + done.stderr
    assert done.returncode not in (0, 70)
    assert "Traceback" not in told
    assert any(text in told for text in ("/no/such/program", "Port out of range", "Unable to parse config"))
