"""The operators' commands; each runs as `make COMMAND ENVIRONMENT=prod`.

bootstrap makes the state's bucket; plan, drift, outputs, policy and destroy call terraform; image builds and pushes
the worker's image; deploy does all of it and waits. restart, logs, status, smoke, replay, sources and configure work on
a deployed environment.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from cloud.clients import client
from cloud.errors import ERRORS, Kind, classify, code_of, describe, lack_of_credentials
from cloud.unusable import UnusableSettingsError
from stacks import drift, image, operate, replay, smoke, sources, summary, verify, webhooks
from stacks.config import Config, ConfigError
from stacks.errors import DeployError
from stacks.names import Names
from stacks.needs import needs
from stacks.outputs import POLICY
from stacks.terraform import Terraform
from terminal.streams import guarded

ROOT = Path(__file__).parent.parent
OUT = ROOT / "cdktf.out"
FAILED = 1
WRONG_USAGE = 2
INTERRUPTED = 130

EPILOG = """examples:
  python -m stacks.cli plan --environment prod --out plan
  python -m stacks.cli deploy --environment prod --auto-approve
  python -m stacks.cli logs --environment prod --since 60 --follow
  python -m stacks.cli configure --environment prod --source door --settings door.json
"""


def main() -> int:
    """Gives 0 or terraform's status; 1 if a deployment or a smoke test failed; 2 if the command could not begin."""
    parser = argparse.ArgumentParser(
        prog="stacks", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=sorted(COMMANDS))
    parser.add_argument("--environment", default=os.environ.get("ENVIRONMENT", "dev"), help="default: dev")
    parser.add_argument("--auto-approve", action="store_true", help="bootstrap, deploy, destroy: do not ask")
    parser.add_argument(
        "--out", default="", help="plan: save it to this file in the stack's folder; drift: write Markdown to it"
    )
    parser.add_argument("--plan", default="", help="deploy: the plan that `plan --out` has saved, and nothing else")
    parser.add_argument("--base", default=os.environ.get("BASE", ""), help="image, deploy: the image to build on")
    parser.add_argument("--no-image", action="store_true", help="deploy: only the infrastructure")
    parser.add_argument("--frames", type=int, default=20, help="smoke: how many (default: 20)")
    parser.add_argument(
        "--rest", type=int, default=verify.REST_SECONDS,
        help=f"verify-account: how many seconds it sleeps before frames wake it (default: {verify.REST_SECONDS})",
    )  # fmt: skip
    parser.add_argument("--since", type=int, default=15, help="logs: from so many minutes ago (default: 15)")
    parser.add_argument("--from", dest="start", default="", help="replay: from this time, as 2026-01-01T00:00:00Z")
    parser.add_argument("--model", type=Path, help="replay: an exported model, such as models/yolov8m.onnx")
    parser.add_argument(
        "--name", default="Producer", help="policy: Producer (default), Consumer, Clip, Configure or Quarantine"
    )
    parser.add_argument("--source", default="", help="configure: the source")
    parser.add_argument("--settings", type=Path, help="configure: its settings, a file of JSON; without, they go")
    parser.add_argument("--follow", action="store_true", help="logs: until Ctrl-C")
    parser.add_argument("--json", action="store_true", dest="as_json", help="status: for machines")
    args = parser.parse_args()
    try:
        config = Config.read(ROOT / "environments" / f"{args.environment}.toml")
        return COMMANDS[args.command](Operator(config, args))
    except (ConfigError, DeployError) as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_USAGE
    except ERRORS as error:
        print(f"error: {lack_of_credentials(error) or describe(error)}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


class Operator:
    """The commands for one environment, with the current credentials."""

    def __init__(self, config: Config, args: argparse.Namespace) -> None:
        self._config, self._args = config, args
        self._approve = ["-auto-approve"] if args.auto_approve else []

    # -- commands that call terraform

    def bootstrap(self) -> int:
        """Makes the bucket of the state, once for each account and region; then the roles of GitHub's workflows."""
        from stacks.state import STATE_BUCKET_ADDRESS

        folder, bucket = self._synthesise(), self._state_bucket()
        if self._bucket_exists(bucket):
            print(f"{bucket} is there already")
        else:
            self._make_bucket(bucket)
        state = Terraform(folder.parent / "state")
        state.init()
        if STATE_BUCKET_ADDRESS not in state.resources() and (status := state("import", STATE_BUCKET_ADDRESS, bucket)):
            return status
        if status := state("apply", *self._approve):
            return status
        if not self._config.github.repository:
            return 0
        github = Terraform(folder.parent / "github")
        github.init()
        return github("apply", *self._approve)

    def plan(self) -> int:
        """Shows what a deployment would change."""
        if missing := self._missing_model():
            print(f"warning: {missing}; the planned image is not the one to deploy", file=sys.stderr)
        terraform = self._terraform()
        self._check_zones()
        out = [f"-out={self._args.out}"] if self._args.out else []
        return terraform("plan", "-input=false", *out)

    def drift(self) -> int:
        """Compares what is deployed with what this checkout says; a difference is a failure."""
        self._check_model()  # without it, the image's tag would differ
        terraform = self._terraform()
        self._check_zones()
        if not terraform.differs("drift"):
            print("no difference")
            return 0
        text = drift.report(terraform.show("drift"), self._args.environment)
        print(text)
        self._keep(f"{text}\n")
        return FAILED

    def needs(self) -> int:
        """Prints what the environment takes of an account's quotas, for doctor."""
        print(json.dumps(needs(self._config)))
        return 0

    def outputs(self) -> int:
        """Prints the outputs that the CLIs read with --from-outputs."""
        print(json.dumps(self._terraform().output(), indent=2))
        return 0

    def policy(self) -> int:
        """Prints the policy of those who produce, consume, make clips, configure or look after quarantine."""
        outputs = self._terraform().output()
        policies = {name.removesuffix(POLICY): output["value"] for name, output in outputs.items() if POLICY in name}
        if self._args.name not in policies:
            raise DeployError(f"--name {self._args.name!r}: one of {', '.join(policies)} is needed")
        print(json.dumps(json.loads(policies[self._args.name]), indent=2))
        return 0

    def verify_account(self) -> int:
        """Deploys a throw-away environment, uses it, takes it down, and prints a report in Markdown."""
        self._check_bucket()
        environment, config = verify.throw_away(self._config)
        if not self._args.auto_approve:
            _ask(f"{environment} will be made in account {self._account}, {config.region}, used for an hour and "
                 "destroyed, for about a dollar. Go on?")  # fmt: skip
        args = argparse.Namespace(**vars(self._args) | {"environment": environment, "auto_approve": True, "plan": ""})
        report = verify.Report(self._account, config.region, environment)
        try:
            Operator(config, args)._verify(report)
        except DeployError:
            pass  # it is in the report
        finally:
            text = report.markdown()
            print(text)
            self._keep(text)
        return 0 if report.passed else FAILED

    def _keep(self, text: str) -> None:
        if not self._args.out:
            return
        try:
            Path(self._args.out).write_text(text)
        except OSError as error:
            raise DeployError(f"--out {self._args.out}: {error.strerror}") from None

    def _verify(self, report: verify.Report) -> None:
        try:
            with report.step("deploy, until a task is healthy") as step:
                _expect(self.deploy())
                step.seen = f"image {image.tag(self._config)}"
            self._smoke_in(report, "frames through the task that was started")
            with report.step("sleep, as nothing comes"):
                verify.sleep(self._client("ecs"), self._config)
                time.sleep(self._args.rest)
            self._smoke_in(report, "frames that wake it")
        finally:
            self._take_down(report)

    def _take_down(self, report: verify.Report) -> None:
        """Destroys a throw-away environment, as far as it is there, and its state; no file describes it later."""
        try:
            with report.step("stop tasks, delete frames and images"):
                verify.empty(self._client, self._config, self._account)
        finally:
            with report.step("destroy"):
                folder = OUT / "stacks" / self._args.environment
                if status := self.destroy():
                    raise DeployError(
                        f"failed with status {status}; `terraform -chdir={folder} destroy` tries it again"
                    )
                self._forget()
                shutil.rmtree(folder)

    def _forget(self) -> None:
        """Deletes an environment's state, which nothing is in any more."""
        from stacks.state import state_key

        self._client("s3").delete_object(Bucket=self._state_bucket(), Key=state_key(self._args.environment))

    def _smoke_in(self, report: verify.Report, name: str) -> None:
        with report.step(name) as step:
            result = smoke.run(self._client, self._config, self._frames_bucket(), self._args.frames)
            step.seen = f"{result.findings.announced} of {result.findings.accepted} in {result.seconds:.0f} s"
            if not result.findings.clean:
                raise DeployError("; ".join((step.seen, *map(str, result.findings.problems))))

    def destroy(self) -> int:
        """Destroys the environment; S3 refuses to delete a bucket that holds frames."""
        from stacks.protection import GUARDED

        terraform = self._terraform(protected=False)
        guarded = terraform.resources() & set(GUARDED)
        if guarded and (
            status := terraform("apply", *self._approve, *(f"-target={address}" for address in sorted(guarded)))
        ):
            return status
        if status := terraform("destroy", *self._approve):
            print("what is left of it is unprotected: `make deploy` protects it again", file=sys.stderr)
        return status

    # -- the image

    def image(self) -> int:
        """Builds the worker's image and pushes it, if the registry does not hold it yet."""
        self._check_model()
        ecr, repository = self._client("ecr"), Names(self._config).stream
        tag = image.tag(self._config)
        if image.is_pushed(ecr, repository, tag):
            print(f"{repository}:{tag} is in the registry already")
            return 0
        registry = self._registry()
        if not registry:
            raise DeployError(f"no registry {repository} yet: run `make deploy`, which makes it first")
        name = f"{registry}:{tag}"
        image.build(self._config, name, self._args.base)
        image.push(ecr, name)
        return 0

    def deploy(self) -> int:
        """Deploys registry, image and everything else; waits until tasks are healthy and prints the outputs."""
        self._check_model()
        secrets = webhooks.read_secrets(self._client, self._config)
        terraform, plan, with_image = self._terraform(), self._args.plan, not self._args.no_image
        self._check_zones()
        shown = terraform.show(plan) if plan else {}
        if plan and with_image:
            self._check_image(shown.get("planned_values", {}))
        if with_image and not plan:
            self._make_registry(terraform)
        # A saved plan may be the one that makes the registry.
        late = with_image and not self._registry()
        if with_image and not late:
            self.image()
        if not plan:
            plan = "deployment"
            if status := terraform("plan", "-input=false", f"-out={plan}"):
                return status
            shown = terraform.show(plan)
        changes = summary.changes_anything(shown)
        if not self._args.plan:
            if lost := summary.at_risk(summary.planned(shown)):
                raise DeployError(
                    f"the plan would destroy or replace {', '.join(lost)} with what is in it: `make plan OUT=plan` "
                    "saves such a plan, and PLAN=plan applies it"
                )
            if changes and not self._args.auto_approve:
                _ask("Apply this plan?")
        ecs = self._client("ecs")
        if changes:
            # Without a task, nothing would show that the new ones start, and nothing would be rolled back.
            if operate.find_service(ecs, self._config):
                operate.wake(ecs, self._config)
            if status := terraform("apply", plan):
                return status
        webhooks.hand_over(self._client, self._config, secrets)
        if late:
            self.image()
            operate.begin_anew(ecs, self._config)  # tasks without an image may have failed meanwhile
        if changes:
            operate.wake(ecs, self._config)
        print("waiting for the service", flush=True)
        print(f"  {operate.wait_until_stable(ecs, self._config, least=int(changes))}")
        for name, output in terraform.output().items():
            if not name.endswith(POLICY):
                print(f"{name:22} {output['value']}")
        return 0

    # -- commands for a deployed environment

    def restart(self) -> int:
        """Replaces the tasks by new ones."""
        operate.restart(self._client, self._config)
        return 0

    def logs(self) -> int:
        """Prints the worker's log."""
        for line in operate.logs(self._client, self._config, timedelta(minutes=self._args.since), self._args.follow):
            print(line, flush=True)
        return 0

    def status(self) -> int:
        """Shows the state of an environment."""
        status = operate.status(self._client, self._config)
        print(json.dumps(status.as_dict()) if self._args.as_json else "\n".join(status.lines()))
        return 0

    def smoke(self) -> int:
        """Sends frames and checks their outcomes."""
        result = smoke.run(self._client, self._config, self._frames_bucket(), self._args.frames)
        print("\n".join(result.lines()))
        return 0 if result.findings.clean else FAILED

    def replay(self) -> int:
        """Runs another model on what is still on the stream."""
        try:
            since = datetime.fromisoformat(self._args.start)
        except ValueError:
            raise DeployError(f"--from {self._args.start!r}: a time such as 2026-01-01T00:00:00Z is needed") from None
        if self._args.model is None or not self._args.model.is_file():
            raise DeployError(f"--model {self._args.model}: an exported model is needed: `make model SIZE=m`")
        since = since if since.tzinfo else since.replace(tzinfo=UTC)
        replayed = replay.run(self._client, self._config, self._frames_bucket(), since, self._args.model.resolve())
        print("\n".join(replayed.lines()))
        return 0

    def sources(self) -> int:
        """Lists the sources that have their own settings."""
        print("\n".join(sources.show(self._client("ssm"), self._config)) or "no source has settings of its own")
        return 0

    def configure(self) -> int:
        """Changes a source's own settings."""
        source, settings = self._args.source, self._args.settings
        if settings:
            sources.put(self._client("ssm"), self._config, source, settings)
        else:
            sources.remove(self._client("ssm"), self._config, source)
        print(f"{source}: {'set' if settings else 'removed'}; workers apply it within half a minute")
        return 0

    # -- what the commands need

    def _check_model(self) -> None:
        """Refuses to deploy a tag that is made of a model that is not there."""
        if missing := self._missing_model():
            raise DeployError(missing)

    def _missing_model(self) -> str:
        """Which file the image's tag has to be made of, and is not there; a configured tag is made of none."""
        return "" if self._config.service.image_tag else image.missing_model(self._config)

    def _check_image(self, planned: dict[str, Any]) -> None:
        """Refuses a plan of another image than the one that would be pushed; a plan of a new registry has none yet."""
        text, tag = json.dumps(planned), image.tag(self._config)
        if "container_definitions" in text and f":{tag}" not in text:
            raise DeployError(f"the plan has another image than {tag}, for sources or model have changed: plan again")

    def _check_zones(self) -> None:
        """Compares the zones that are asked for with those that the region has for this account.

        Raises:
            DeployError: If there are fewer.
        """
        wanted, real = self._config.network.zones, {"Name": "zone-type", "Values": ["availability-zone"]}
        found = self._client("ec2").describe_availability_zones(Filters=[real])["AvailabilityZones"]
        if len(found) < wanted:
            names = ", ".join(zone["ZoneName"] for zone in found)
            raise DeployError(f"network.zones {wanted}: {self._config.region} has {len(found)} ({names})")

    def _registry(self) -> str:
        """The registry's address; empty if there is none yet."""
        ecr = self._client("ecr")
        try:
            [found] = ecr.describe_repositories(repositoryNames=[Names(self._config).stream])["repositories"]
        except ecr.exceptions.RepositoryNotFoundException:
            return ""
        return str(found["repositoryUri"])

    def _make_registry(self, terraform: Terraform) -> None:
        """Makes the registry before all else, because the image has to be there when tasks start.

        Raises:
            DeployError: If that would change anything that is there.
        """
        if self._registry():
            return
        if terraform("plan", "-input=false", "-target=aws_ecr_repository.repository", "-out=registry"):
            raise DeployError("the registry cannot be planned, see above")
        changes = [change["change"]["actions"] for change in terraform.show("registry")["resource_changes"]]
        if any(actions not in (["create"], ["read"], ["no-op"]) for actions in changes):
            raise DeployError("the registry would be replaced: look at `make plan`, and push the image with IMAGE=no")
        if terraform("apply", "registry"):
            raise DeployError("the registry was not made, see above")

    def _make_bucket(self, bucket: str) -> None:
        """Makes the bare bucket of the state; S3 lets nobody else in by default."""
        region, arguments = self._config.region, {}
        if region != "us-east-1":  # which S3 does not allow to be named
            arguments = {"CreateBucketConfiguration": {"LocationConstraint": region}}
        self._client("s3").create_bucket(Bucket=bucket, **arguments)

    def _frames_bucket(self) -> str:
        return Names(self._config).bucket(self._account)

    def _terraform(self, *, protected: bool = True) -> Terraform:
        folder = self._synthesise(protected=protected)
        self._check_bucket()
        terraform = Terraform(folder)
        terraform.init()
        return terraform

    def _synthesise(self, *, protected: bool = True) -> Path:
        for tool, package in (("node", "Node.js 20 or later"), ("terraform", "Terraform 1.10 or later")):
            if not shutil.which(tool):
                raise DeployError(f"{tool} is not on the path: install {package}")
        account = self._account
        if self._config.account not in ("", account):
            raise DeployError(
                f"these credentials are of account {account}; environment {self._args.environment} belongs to "
                f"{self._config.account}: set AWS_PROFILE"
            )
        # Imported late, because the import starts Node.
        from stacks.app import synthesise

        return synthesise(self._config, self._args.environment, account, OUT, protected=protected)

    def _state_bucket(self) -> str:
        from stacks.state import state_bucket_name

        return state_bucket_name(self._account, self._config.region)

    @cached_property
    def _account(self) -> str:
        try:
            return str(self._client("sts").get_caller_identity()["Account"])
        except ERRORS as error:
            what = lack_of_credentials(error) or f"AWS does not tell whose credentials these are: {describe(error)}"
            raise DeployError(f"{what}: `aws configure`, or set AWS_PROFILE") from None

    def _check_bucket(self) -> None:
        if not self._bucket_exists(self._state_bucket()):
            where = f"account {self._account}, {self._config.region}"
            raise DeployError(f"no bucket for the state in {where}: run `make bootstrap` once")

    def _bucket_exists(self, bucket: str) -> bool:
        try:
            self._client("s3").head_bucket(Bucket=bucket, ExpectedBucketOwner=self._account)
        except ClientError as error:
            if classify(error) is Kind.MISSING:
                return False
            raise DeployError(f"bucket {bucket}: {code_of(error)}: another account's, or closed to this user") from None
        return True

    def _client(self, service: str) -> Any:
        try:
            return client(service, self._config.region, attempts=3)
        except UnusableSettingsError as error:
            raise DeployError(str(error)) from None


def _expect(status: int) -> None:
    """Takes a command's status.

    Raises:
        DeployError: If the command has failed.
    """
    if status:
        raise DeployError(f"failed with status {status}, see above")


def _ask(question: str) -> None:
    """Asks the person at the terminal.

    Raises:
        DeployError: If the answer is not yes.
    """
    try:
        answer = input(f"{question} Only `yes` is accepted: ")
    except EOFError:
        answer = ""
    if answer.strip() != "yes":
        raise DeployError("not approved, so nothing is changed (`YES=yes` does not ask)")


COMMANDS: dict[str, Callable[[Operator], int]] = {
    "bootstrap": Operator.bootstrap,
    "plan": Operator.plan,
    "drift": Operator.drift,
    "needs": Operator.needs,
    "outputs": Operator.outputs,
    "policy": Operator.policy,
    "destroy": Operator.destroy,
    "image": Operator.image,
    "deploy": Operator.deploy,
    "restart": Operator.restart,
    "logs": Operator.logs,
    "status": Operator.status,
    "smoke": Operator.smoke,
    "replay": Operator.replay,
    "sources": Operator.sources,
    "verify-account": Operator.verify_account,
    "configure": Operator.configure,
}


if __name__ == "__main__":
    with guarded():
        sys.exit(main())
