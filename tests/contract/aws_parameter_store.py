"""AWS Parameter Store for the contract suite: moto behind a proxy that adds AWS's own rules.

A name with levels has to begin with "/", and the suite's keys do not: the store has the prefix "/".
"""

import json
from collections.abc import Mapping
from typing import Any

from contract.aws import OneService, access_denied, error_reply, operation
from contract.proxy import Action, Change, Request
from testbed.moto import Moto

#: The largest value of a parameter of the standard tier; the advanced one takes twice that.
STANDARD = 4096


class ParameterStoreHarness(OneService):
    """One test's view of Parameter Store. Parameters are SecureStrings if not said otherwise."""

    service = "ParameterStore"
    target = "ssm"
    prefix = "/"
    max_bytes = 2 * STANDARD
    takes_binary = False
    missing_version = "999"

    def __init__(self, moto: Moto) -> None:
        super().__init__(moto)
        self.proxy.rules += [_limits, self._selectors]

    def put(self, key: str, value: bytes, *, kind: str = "SecureString") -> str:
        answer = self.boto.put_parameter(
            Name=self.named(key),
            Value=value.decode(),
            Type=kind,
            Overwrite=True,
            Tier="Advanced" if len(value) > STANDARD else "Standard",
        )
        return str(answer["Version"])

    def label(self, key: str, label: str, version: str = "") -> None:
        """Gives a version, or the newest, a label."""
        which = {"ParameterVersion": int(version)} if version else {}
        self.boto.label_parameter_version(Name=self.named(key), Labels=[label], **which)

    def tag(self, key: str, tags: Mapping[str, str]) -> None:
        given = [{"Key": name, "Value": value} for name, value in tags.items()]
        self.boto.add_tags_to_resource(
            ResourceType="Parameter", ResourceId=self.named(key), Tags=given
        )

    def delete(self, key: str) -> None:
        self.boto.delete_parameter(Name=self.named(key))

    def arn(self, key: str) -> str:
        return str(self.boto.get_parameter(Name=self.named(key))["Parameter"]["ARN"])

    def named(self, key: str) -> str:
        """The name in AWS."""
        return f"{self.prefix}{key}"

    def _policy(self, request: Request) -> Action | None:
        """One parameter that is denied denies the whole call, as it does at AWS."""
        if (denied := super()._policy(request)) is not None:
            return denied
        if operation(request) != "GetParameters":
            return None
        names = {name.partition(":")[0] for name in request.json["Names"]}
        if names & {self.named(key) for key in self.denied}:
            return access_denied("ssm", "GetParameters")
        return None

    def _selectors(self, request: Request) -> Action | None:
        """What a parameter was selected by, which moto leaves out of its answer."""
        if operation(request) != "GetParameters":
            return None
        chosen = [name.split(":") for name in request.json["Names"] if ":" in name]
        if not chosen or any(len(parts) != 2 for parts in chosen):
            return None

        def add(body: bytes) -> bytes:
            answer = json.loads(body)
            for name, selector in chosen:
                version = self._version(name, selector)
                for entry in answer.get("Parameters", ()):
                    here = entry["Name"] == name and entry["Version"] == version
                    if here and "Selector" not in entry:
                        entry["Selector"] = f":{selector}"
                        break
            return json.dumps(answer).encode()

        return Change(reply=add)

    def _version(self, name: str, selector: str) -> int:
        if selector.isdigit():
            return int(selector)
        history: list[dict[str, Any]] = self.boto.get_parameter_history(Name=name)["Parameters"]
        return next((one["Version"] for one in history if selector in one.get("Labels", ())), 0)


def _limits(request: Request) -> Action | None:
    """What makes AWS refuse a call as a whole, and moto does not keep all of."""
    if operation(request) != "GetParameters":
        return None
    names = request.json["Names"]
    if len(names) > 10 or len(names) != len(set(names)):
        return error_reply("ValidationException", message="1 validation error detected")
    return None
