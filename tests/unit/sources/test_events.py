"""What messages say, and that nothing a message holds can break who reads it."""

import base64
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncret.sources.events import Event, Malformed, parse, seconds
from syncret.sources.names import Subject, System
from unit.sources.shapes import ARN, AZURE, GOOGLE, LABEL_UPDATED, PARAMETER, REGION, VAULT, trail

AT = 1767323045.0
SECRET = System.SECRETS_MANAGER


def only(message: Any, **attributes: str) -> Event:
    body = message if isinstance(message, bytes | str) else json.dumps(message)
    (event,) = parse(body, attributes or None)
    return event


def test_secrets_manager_tells_name_arn_and_version() -> None:
    event = only(LABEL_UPDATED)
    named = (ARN, "production/database")
    assert event == Event(
        (Subject(SECRET, named, place=REGION, version="v-2"),), id="6b2c1f7e", time=AT
    )


def test_another_label_tells_of_no_current_version() -> None:
    detail = {**LABEL_UPDATED["detail"], "labelUpdated": "blue"}
    (subject,) = only({**LABEL_UPDATED, "detail": detail}).subjects
    assert subject.version == ""


def test_what_sns_wraps_and_lists_are_taken_out() -> None:
    wrapped = {"Type": "Notification", "Message": json.dumps(LABEL_UPDATED)}
    assert only(wrapped) == only(LABEL_UPDATED)
    assert parse(json.dumps([LABEL_UPDATED, PARAMETER])) == (only(LABEL_UPDATED), only(PARAMETER))
    with pytest.raises(Malformed):
        only({"Type": "Notification", "Message": json.dumps(wrapped)})
    with pytest.raises(Malformed):
        parse(json.dumps([[LABEL_UPDATED]]))


@pytest.mark.parametrize(
    ("message", "names"),
    [
        (trail("PutSecretValue", requestParameters={"secretId": "a/b"}), ("a/b",)),
        (
            trail(
                "UpdateSecret", requestParameters={"secretId": "n"}, responseElements={"aRN": ARN}
            ),
            ("n", ARN),
        ),
        (trail("CreateSecret", requestParameters={"name": "n"}), ("n",)),
        (
            trail(
                "RotationSucceeded",
                kind="AWS Service Event via CloudTrail",
                additionalEventData={"SecretId": ARN},
                requestParameters=None,
            ),
            (ARN,),
        ),
        (trail("PutParameter", requestParameters={"name": "/a"}), ("/a",)),
    ],
)
def test_cloudtrail_tells_what_the_caller_sent(
    message: dict[str, Any], names: tuple[str, ...]
) -> None:
    (subject,) = only(message).subjects
    assert (subject.names, subject.place, subject.version) == (names, REGION, "")


@pytest.mark.parametrize(
    "message",
    [
        trail("GetSecretValue", requestParameters={"secretId": "n"}),
        trail("PutSecretValue", errorCode="AccessDenied", requestParameters={"secretId": "n"}),
        {**LABEL_UPDATED, "source": "aws.s3"},
        {"detail-type": "Scheduled Event", "source": "aws.events", "detail": {}},
        {**AZURE, "eventType": "Microsoft.KeyVault.SecretNearExpiry"},
        {"anything": "else"},
        {},
    ],
)
def test_what_changes_no_value_concerns_nobody(message: dict[str, Any]) -> None:
    assert only(message).subjects == ()


def test_parameters_and_key_vault() -> None:
    (subject,) = only(PARAMETER).subjects
    assert subject.system is System.PARAMETER_STORE
    assert subject.names[0] == "/shop/password"
    azure = Subject(System.AZURE, ("secret/DB-Password",), place="Acme", version="0123")
    for message in (
        AZURE,
        {**AZURE, "eventType": None, "type": AZURE["eventType"], "specversion": "1.0"},
    ):
        assert only(message).subjects == (azure,)
    assert only(base64.b64encode(json.dumps(AZURE).encode())) == only(AZURE)
    assert only(AZURE).time == pytest.approx(AT, abs=1)
    certificate = {**AZURE, "eventType": "Microsoft.KeyVault.CertificateNewVersionCreated"}
    (subject,) = only(certificate).subjects
    assert "secret/DB-Password" in subject.names
    assert subject.version == ""


def test_google_tells_by_attributes_and_vault_by_metadata() -> None:
    event = only(b"{}", **GOOGLE)
    assert event.subjects == (Subject(System.GOOGLE, (GOOGLE["secretId"],), version="7"),)
    assert only(b"", **{**GOOGLE, "eventType": "SECRET_ROTATE"}).subjects == ()
    log = {
        "insertId": "i",
        "protoPayload": {
            "methodName": "google.cloud.secretmanager.v1.SecretManagerService.AddSecretVersion",
            "resourceName": "projects/acme/secrets/db/versions/3",
        },
    }
    (subject,) = only(log).subjects
    assert subject.names == ("projects/acme/secrets/db",)
    vault = only(VAULT)
    assert vault.subjects == (
        Subject(System.VAULT, ("secret/data/shop/db",), place="team", mount="secret/"),
    )
    assert vault.time == pytest.approx(AT, abs=1)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "no json",
        "3",
        "null",
        '"text"',
        "[" * 100_000,
        '{"a":' * 5_000,
        "[1]",
        json.dumps({"detail-type": "Secret Label Updated", "source": "aws.secretsmanager"}),
        json.dumps({**LABEL_UPDATED, "detail": {**LABEL_UPDATED["detail"], "name": ""}}),
        json.dumps({**AZURE, "data": {}}),
        json.dumps(trail("PutSecretValue", requestParameters={})),
        b"\xff\xfe",
        "x" * 300_000,
    ],
)
def test_what_cannot_be_read_is_said_so_and_not_quoted(body: str | bytes) -> None:
    with pytest.raises(Malformed) as caught:
        parse(body)
    assert len(str(caught.value)) < 80


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.data())
def test_any_field_may_be_anything(data: st.DataObject) -> None:
    message: dict[str, Any] = data.draw(
        st.sampled_from(
            [
                LABEL_UPDATED,
                PARAMETER,
                AZURE,
                VAULT,
                trail("PutSecretValue", requestParameters={"secretId": "x"}),
            ]
        )
    )
    changed = json.loads(json.dumps(message))
    place = changed
    while True:
        name = data.draw(st.sampled_from(sorted(place)))
        if isinstance(place[name], dict) and place[name] and data.draw(st.booleans()):
            place = place[name]
            continue
        place[name] = data.draw(JSON)
        break
    try:
        events = parse(json.dumps(changed))
    except Malformed:
        return
    assert all(isinstance(name, str) for e in events for s in e.subjects for name in s.names)


@given(st.binary() | st.text(), st.none() | st.dictionaries(st.text(), st.text()))
def test_any_message_is_read_or_malformed(body: bytes | str, attributes: dict[str, str]) -> None:
    with suppress(Malformed):
        parse(body, attributes)


@given(JSON)
def test_any_time_is_a_number_or_not_told(time: Any) -> None:
    assert seconds(time) is None or isinstance(seconds(time), float)
