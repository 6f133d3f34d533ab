"""Queues of SQS, and events in the shapes that AWS sends."""

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from testbed.moto import ACCESS_KEY, REGION, SECRET_KEY, Moto

ACCOUNT = "123456789012"

#: The operator's own identity, as moto takes it.
IDENTITY = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}


def arn(name: str, suffix: str = "AbC123") -> str:
    return f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{name}-{suffix}"


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def label_updated(name: str, version: str = "", *, at: str = "", **more: Any) -> dict[str, Any]:
    """Of Secrets Manager itself."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Secret Label Updated",
        "source": "aws.secretsmanager",
        "account": ACCOUNT,
        "time": at or now(),
        "region": REGION,
        "resources": [arn(name)],
        "detail": {
            "name": name,
            "labelUpdated": "AWSCURRENT",
            "versionId": version or str(uuid.uuid4()),
        },
        **more,
    }


def put_by_cloudtrail(name: str) -> dict[str, Any]:
    """Of CloudTrail, for PutSecretValue."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "AWS API Call via CloudTrail",
        "source": "aws.secretsmanager",
        "time": now(),
        "region": REGION,
        "resources": [],
        "detail": {
            "eventSource": "secretsmanager.amazonaws.com",
            "eventName": "PutSecretValue",
            "eventTime": now(),
            "awsRegion": REGION,
            "requestParameters": {"secretId": name, "versionStages": ["AWSCURRENT"]},
            "responseElements": {"arn": arn(name)},
        },
    }


@dataclass
class SqsBed:
    """A queue of moto's, and the file that names it."""

    sqs: Any
    url: str
    file: Path

    @classmethod
    def make(cls, moto: Moto, directory: Path, *, visibility: int = 30, **more: Any) -> "SqsBed":
        """``visibility``: seconds of the queue's own timeout; ``more``: fields of the file."""
        sqs = moto.client("sqs")
        url = sqs.create_queue(
            QueueName=f"syncret-{uuid.uuid4().hex[:8]}",
            Attributes={"VisibilityTimeout": str(visibility)},
        )["QueueUrl"]
        source = {"queueURL": url, "region": REGION, "endpoint": moto.endpoint}
        sources = [{"name": "aws", "sqs": source}, *more.pop("sources", [])]
        file = directory / "sources.yaml"
        file.write_text(yaml.safe_dump({"eventSources": sources, **more}), encoding="utf-8")
        return cls(sqs, url, file)

    def send(self, *bodies: Mapping[str, Any] | str) -> None:
        for start in range(0, len(bodies), 10):
            self.sqs.send_message_batch(
                QueueUrl=self.url,
                Entries=[
                    {
                        "Id": str(number),
                        "MessageBody": body if isinstance(body, str) else json.dumps(body),
                    }
                    for number, body in enumerate(bodies[start : start + 10])
                ],
            )

    def left(self) -> int:
        """Messages that are waiting or in somebody's hands."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)
        return sum(int(value) for value in answer["Attributes"].values())

    def remove(self) -> None:
        self.sqs.delete_queue(QueueUrl=self.url)


def seconds_of(started: float) -> float:
    return time.monotonic() - started
