"""What a user is told whose settings of the SDK name credentials or addresses that cannot be used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from botocore import exceptions as sdk

from cloud import clients
from cloud.clients import client
from cloud.credentials import credentials
from cloud.errors import ERRORS, Kind, classify, describe, lack_of_credentials, may_pass
from cloud.unusable import UnusableSettingsError
from local.processes import ROOT, Aws
from local.resources import REGION
from local.waiting import wait_for
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
    monkeypatch.setattr(credentials, "region", REGION)  # which the first client sets
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
@pytest.mark.parametrize("of_a_role", [False, True])
def test_a_secret_that_cannot_be_sent_is_not_shown(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, of_a_role: bool
) -> None:
    file = home / "credentials.json"
    known = {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "B", "AWS_SESSION_TOKEN": "C"} | {name: value}
    names = zip(("AccessKeyId", "SecretAccessKey", "SessionToken"), known.values(), strict=True)
    file.write_text(json.dumps({"Version": 1, **dict(names)}))
    config = process(f"cat {file}")
    if of_a_role:
        config = ROLE_OF + config.replace("default", "profile base")
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{free_port()}")
    (home / "config").write_text(config)
    with pytest.raises(ERRORS) as caught:
        client("s3", REGION, endpoint_url=f"http://127.0.0.1:{free_port()}").list_buckets()
    assert classify(caught.value) is Kind.CREDENTIALS or "Could not connect" in str(caught.value)
    assert of_a_role or "has a line's end or a control character" in str(caught.value)
    assert "ASecret" not in str(caught.value)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://127.0.0.1:99999",
        "http://127.0.0.1:x",
        "http://127.0.0.1:0",
        "ftp://127.0.0.1",
        "//127.0.0.1",
        "http://camera:ASecret@127.0.0.1",
        "http://camera:ASecret/1@127.0.0.1:9",
        "http://camera:ASecret#1@127.0.0.1:9",
        "http://camera:ASecret?1@127.0.0.1:9",
        "camera:ASecret@127.0.0.1:9",
        "http:/camera:ASecret@127.0.0.1:9",
        "http://camera:ASecret@foo!bar",
        "http://camera:ASecret@ho℀st",
        "http://[::1",
    ],
)
def test_an_address_that_cannot_be_used_allows_no_client(home: Path, endpoint: str) -> None:
    with pytest.raises(UnusableSettingsError, match="an endpoint is http://host:port") as caught:
        client("kinesis", REGION, endpoint_url=endpoint)
    assert "ASecret" not in str(caught.value)


@pytest.mark.parametrize(
    "variables",
    [
        {"HTTP_PROXY": "http://camera:ASecret@127.0.0.1:99999"},
        {"HTTP_PROXY": "ftp://camera:ASecret@127.0.0.1:9"},
        {"HTTP_PROXY": "http://camera:ASec/ret@127.0.0.1:9"},
        {"AWS_ENDPOINT_URL_STS": "http://camera:ASecret@127.0.0.1:9", "AWS_PROFILE": "role"},
    ],
)
def test_no_address_on_the_way_shows_its_password(
    home: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    keys = "aws_access_key_id = A\naws_secret_access_key = B\n"
    (home / "config").write_text(f"[default]\n{keys}[profile role]\nrole_arn = {ROLE}\nsource_profile = default\n")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ERRORS) as caught:
        client("kinesis", REGION, endpoint_url="http://localhost.example:9").list_streams()
    assert "ASec" not in describe(caught.value) + (lack_of_credentials(caught.value) or "")


def test_a_programs_arguments_are_not_shown(home: Path) -> None:
    (home / "config").write_text(process("'/no/such/program --password ASecret'"))
    with pytest.raises(ERRORS, match=r"No such file or directory: '/no/such/program …'") as caught:
        client("kinesis", REGION, endpoint_url="http://127.0.0.1:9").list_streams()
    assert "ASecret" not in str(caught.value)


class Roles:
    """STS: the outcomes of its next calls, and how many there were."""

    def __init__(self, *outcomes: tuple[int, str]) -> None:
        self.outcomes, self.calls = list(outcomes), 0
        self.thinks = threading.Event()
        self.thinks.set()

    @contextmanager
    def answering(self) -> Iterator[str]:
        roles = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                roles.calls += 1
                roles.thinks.wait()
                status, code = roles.outcomes.pop(0) if len(roles.outcomes) > 1 else roles.outcomes[0]
                text = f"<ErrorResponse><Error><Code>{code}</Code><Message>it says</Message></Error></ErrorResponse>"
                if status == 200:
                    until = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
                    keys = f"<AccessKeyId>{code}</AccessKeyId><SecretAccessKey>B</SecretAccessKey>"
                    keys += f"<SessionToken>C</SessionToken><Expiration>{until}</Expiration>"
                    text = f"<AssumeRoleResult><Credentials>{keys}</Credentials></AssumeRoleResult>"
                    text = f"<AssumeRoleResponse>{text}</AssumeRoleResponse>"
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_port}"
            server.shutdown()


@pytest.fixture
def role(home: Path) -> None:
    (home / "config").write_text(ROLE_OF + BASE)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDenied", Kind.CREDENTIALS),
        (403, "InvalidClientTokenId", Kind.CREDENTIALS),
        (400, "ValidationError", Kind.CREDENTIALS),
        (404, "ResourceNotFoundException", Kind.CREDENTIALS),
        (400, "IDPCommunicationError", Kind.PASSING),
        (503, "ServiceUnavailable", Kind.PASSING),
        (400, "ExpiredTokenException", Kind.EXPIRED),
    ],
)
def test_what_the_service_of_a_role_says_is_not_what_the_called_one_says(
    role: None, monkeypatch: pytest.MonkeyPatch, status: int, code: str, kind: Kind
) -> None:
    with Roles((status, code)).answering() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url)
        with pytest.raises(ERRORS) as caught:
            client("kinesis", REGION, endpoint_url="http://127.0.0.1:9").list_streams()
    assert classify(caught.value) is kind
    assert code in describe(caught.value)


def test_those_at_hand_stay_where_no_others_can_be_had(role: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with Roles((200, "first"), (503, "ServiceUnavailable")).answering() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url)
        for _ in range(2):
            assert credentials.get_frozen_credentials().access_key == "first"
            credentials.renew()


class Lock:
    """A lock that counts who asks for it."""

    def __init__(self) -> None:
        self.asked, self._lock = 0, threading.Lock()

    def __enter__(self) -> None:
        self.asked += 1
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def test_threads_share_a_lookup_and_its_failure(role: None, monkeypatch: pytest.MonkeyPatch) -> None:
    service, lock, failed = Roles((403, "AccessDenied"), (200, "found")), Lock(), list[str]()
    monkeypatch.setattr(credentials, "_lock", lock)

    def together(work: Callable[[], None]) -> None:
        """Has eight threads do it while the service thinks."""
        service.thinks.clear()
        before, threads = lock.asked, [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        wait_for(lambda: lock.asked == before + 8, "all threads")
        service.thinks.set()
        for thread in threads:
            thread.join()

    def look() -> None:
        with pytest.raises(ERRORS) as caught:
            credentials.get_frozen_credentials()
        failed.append(describe(caught.value))

    with service.answering() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url)
        together(look)
        assert (len(failed), len(set(failed)), service.calls) == (8, 1, 1)
        assert credentials.get_frozen_credentials().access_key == "found"
        together(credentials.renew)
        assert service.calls == 3


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (sdk.TokenRetrievalError(provider="sso", error_msg="Token has expired and refresh failed"), Kind.EXPIRED),
        (sdk.UnauthorizedSSOTokenError(), Kind.EXPIRED),
        (sdk.SSOTokenLoadError(error_msg="no token"), Kind.CREDENTIALS),
    ],
)
def test_who_has_never_logged_in_is_told_so(error: Exception, kind: Kind) -> None:
    assert classify(error) is kind


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
        *(
            pytest.param(config, variables, marks=pytest.mark.thorough)
            for config, variables in (
                ("", {"AWS_WEB_IDENTITY_TOKEN_FILE": "/no/such/program", "AWS_ROLE_ARN": ROLE}),
                ("", {"AWS_ENDPOINT_URL": "http://127.0.0.1:99999"}),
                ("[default", {}),
            )
        ),
    ],
)
def test_commands_tell_it_without_a_traceback(home: Path, name: str, config: str, variables: dict[str, str]) -> None:
    (home / "config").write_text(config)
    env = dict(os.environ) | {"AWS_REGION": REGION, "KINESIS_STREAM_NAME": "demo"} | variables
    done = subprocess.run(
        [sys.executable, *COMMANDS[name]], env=env, cwd=ROOT, capture_output=True, text=True, check=False
    )
    told = done.stdout + done.stderr
    assert done.returncode not in (0, 70)
    assert "Traceback" not in told
    assert any(text in told for text in ("/no/such/program", "an endpoint is", "Unable to parse config"))
