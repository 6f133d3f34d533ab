"""What can go wrong at run time: what is said, how it comes about, and how it is mended.

A message is compared word for word: people and alerts rely on it. ``{namespace}`` and ``{size}``
stand for what a test only knows when it runs.
"""

from contract.aws import error_reply
from contract.proxy import Reply
from integration.manifests import entry
from integration.sites import (
    Case,
    Site,
    admit,
    extract_of,
    foreign_secret,
    full,
    no_auth,
    other_secret_of,
    own_credentials,
    too_large,
    use_cluster_store,
    without_credentials,
)
from testbed.controlplane import free_ports

AWS = "AWS Secrets Manager in eu-central-1"
NO_SUCH_VERSION = "00000000-0000-0000-0000-000000000000"

FOREIGN = (
    "{} and was left as it is: choose another spec.target.name, delete that Secret if nothing "
    "needs it{}."
)
HAND_OVER = ", or hand it over with the annotation syncret.io/owner: app"

CASES = (
    Case(
        "no-store",
        "StoreNotFound",
        "SecretStore {namespace}/aws does not exist: create it, or correct spec.secretStoreRef.",
        break_=lambda site: site.world.delete("SecretStore", "aws"),
        mend=Site.store,
    ),
    Case(
        "store-not-allowed",
        "StoreNotAllowed",
        'ClusterSecretStore shared-{namespace} does not admit the namespace "{namespace}": ask '
        "its owner to add the namespace to spec.conditions, or use another store.",
        prepare=use_cluster_store,
        break_=lambda site: admit(site, "elsewhere"),
        mend=lambda site: admit(site, "elsewhere", site.world.namespace),
    ),
    Case(
        "store-without-auth",
        "StoreInvalid",
        "SecretStore {namespace}/aws names no credentials, and a SecretStore may not use what the "
        "operator itself may read: name some in spec.provider.aws, if that kind has any, or use a "
        "ClusterSecretStore (or let the operator run with "
        "--ambient-credentials-for-secret-stores).",
        break_=no_auth,
        mend=Site.store,
    ),
    Case(
        "credentials-missing",
        "CredentialsNotFound",
        'The Secret "mine" in namespace "{namespace}", which SecretStore {namespace}/aws '
        "authenticates with, does not exist: create it, or correct the store's auth.",
        break_=without_credentials,
        mend=own_credentials,
    ),
    Case(
        "credentials-key-missing",
        "CredentialsNotFound",
        'The Secret "mine" in namespace "{namespace}", which SecretStore {namespace}/aws '
        'authenticates with, has no key "key": add it, or correct the store\'s auth.',
        break_=lambda site: without_credentials(site, keep="id"),
        mend=own_credentials,
    ),
    Case(
        "credentials-refused",
        "AccessDenied",
        f"{AWS} refused the credentials: they are not known; check the access key id, with "
        "temporary credentials the session token, and that the account has the region "
        "switched on.",
        break_=lambda site: site.answer(error_reply("UnrecognizedClientException")),
        mend=lambda site: site.answer(None),
    ),
    Case(
        "denied",
        "AccessDenied",
        f'Reading "{{namespace}}/good" from {AWS} (GetSecretValue) is denied: allow '
        "secretsmanager:GetSecretValue on this secret.",
        break_=lambda site: site.answer(error_reply("AccessDeniedException")),
        mend=lambda site: site.answer(None),
    ),
    Case(
        "throttled",
        "Throttled",
        f"{AWS} throttles our requests: they are tried again; if it lasts, lengthen refresh "
        "intervals, or have the account's quota raised.",
        break_=lambda site: site.answer(error_reply("ThrottlingException")),
        mend=lambda site: site.answer(None),
    ),
    Case(
        "internal-error",
        "ProviderUnavailable",
        f"{AWS} had an internal error: the request is tried again; if it lasts, check the state "
        "of AWS and the proxies.",
        break_=lambda site: site.answer(error_reply("InternalServiceError", status=500)),
        mend=lambda site: site.answer(None),
    ),
    Case(
        "closed-port",
        "ProviderUnavailable",
        f"{AWS} cannot be reached: check region, endpoint, DNS and network policies.",
        break_=lambda site: site.store(f"http://127.0.0.1:{free_ports(1)[0]}"),
        mend=Site.store,
    ),
    Case(
        "garbage",
        "ProviderUnavailable",
        f"{AWS} gave an answer that is not one of AWS Secrets Manager: check the endpoint and the "
        "proxies before it.",
        break_=lambda site: site.answer(Reply(200, b"<html>hello</html>")),
        mend=lambda site: site.answer(None),
    ),
    Case(
        "not-the-store",
        "ProviderRejected",
        f"{AWS} answered as AWS does not: check that the endpoint is that of AWS Secrets Manager.",
        break_=lambda site: site.answer(Reply(404, b"<html>Not Found</html>")),
        mend=lambda site: site.answer(None),
    ),
    Case(
        "key-missing",
        "KeyNotFound",
        'SecretStore {namespace}/aws has no "{namespace}/other" (spec.data[1].remoteRef): create '
        "it there, or correct the key.",
        break_=lambda site: site.world.remove("other"),
        mend=lambda site: site.world.put("other", {"password": "p"}),
    ),
    Case(
        "version-missing",
        "KeyNotFound",
        f'SecretStore {{namespace}}/aws has no version "{NO_SUCH_VERSION}" of "{{namespace}}/good"'
        " (spec.data[2].remoteRef): correct the version, or leave it out for the current.",
        break_=lambda site: site.spec(
            entry("old", site.world.key("good"), version=NO_SUCH_VERSION)
        ),
        mend=Site.spec,
    ),
    Case(
        "property-missing",
        "PropertyNotFound",
        'The value of "{namespace}/other" has no property "password" (spec.data[1].remoteRef): '
        "correct the value in the store, or what is selected from it.",
        break_=lambda site: site.world.put("other", {"pass": "p", "password": None}),
        mend=lambda site: site.world.put("other", {"password": "p"}),
    ),
    Case(
        "not-json",
        "ValueNotJSON",
        'The value of "{namespace}/other" is not JSON (spec.data[1].remoteRef): correct the value '
        "in the store, or what is selected from it.",
        break_=lambda site: site.world.put("other", '{"password": "p"'),
        mend=lambda site: site.world.put("other", {"password": "p"}),
    ),
    Case(
        "extract-of-a-text",
        "ValueNotJSON",
        'The value of "{namespace}/document" is a single JSON value, not an object '
        "(spec.dataFrom[0].extract): correct the value in the store, or what is selected from it.",
        break_=lambda site: extract_of(site, '"just a text"'),
        mend=Site.spec,
    ),
    Case(
        "extract-gives-an-invalid-key",
        "InvalidKey",
        'spec.dataFrom[0].extract gives the key "..key", and the key of a Secret consists of '
        'letters, digits, "-", "_" and ".", and does not begin with "..": select the property '
        "under a key of that form, or change it by rewrite.",
        break_=lambda site: extract_of(site, {"fine": "x", "..key": "x"}),
        mend=Site.spec,
    ),
    Case(
        "extract-gives-a-long-key",
        "InvalidKey",
        f'spec.dataFrom[0].extract gives a key of 254 characters, "{"k" * 40}…"; the key of a '
        "Secret has at most 253: select the properties one by one under shorter keys, or shorten "
        "them by rewrite.",
        break_=lambda site: extract_of(site, {"k" * 254: "x"}),
        mend=Site.spec,
    ),
    Case(
        "duplicate-key",
        "DuplicateKey",
        'spec.data[0].remoteRef and spec.dataFrom[0].extract both give the key "good": leave '
        "one of them out or rename it.",
        break_=lambda site: extract_of(site, {"good": "x"}),
        mend=Site.spec,
    ),
    Case(
        "too-large",
        "SecretTooLarge",
        "The data are {size} bytes and a Secret holds at most 1048576: select properties, or "
        "divide them among several ExternalSecrets.",
        break_=too_large,
        mend=Site.spec,
    ),
    Case(
        "foreign-secret",
        "SecretNotOwned",
        FOREIGN.format('The Secret "app" was not made by this ExternalSecret', HAND_OVER),
        fresh=True,
        prepare=foreign_secret,
        break_=Site.spec,
        mend=lambda site: site.world.delete("Secret", "app"),
    ),
    Case(
        "foreign-secret-with-our-label",
        "SecretNotOwned",
        FOREIGN.format('The Secret "app" was not made by this ExternalSecret', HAND_OVER),
        fresh=True,
        prepare=lambda site: foreign_secret(site, labels={"syncret.io/managed": "true"}),
        break_=Site.spec,
        mend=lambda site: site.world.delete("Secret", "app"),
    ),
    Case(
        "secret-of-another",
        "SecretNotOwned",
        FOREIGN.format('The Secret "app" belongs to another object', ""),
        fresh=True,
        prepare=other_secret_of,
        break_=Site.spec,
        mend=lambda site: site.world.delete("ExternalSecret", "first"),
    ),
    Case(
        "owner-and-annotation-removed",
        "SecretNotOwned",
        FOREIGN.format('The Secret "app" was not made by this ExternalSecret', HAND_OVER),
        meddles=True,
        break_=lambda site: site.world.patch(
            "Secret", "app", {"metadata": {"ownerReferences": None, "annotations": None}}
        ),
        mend=lambda site: site.world.delete("Secret", "app"),
    ),
    Case(
        "immutable",
        "SecretImmutable",
        'The Secret "app" is immutable and holds other data than the store: delete it, and it is '
        "made anew with the current data.",
        meddles=True,
        break_=lambda site: site.world.patch("Secret", "app", {"immutable": True}),
        mend=lambda site: site.world.delete("Secret", "app"),
    ),
    Case(
        "quota",
        "Forbidden",
        'A ResourceQuota in namespace "{namespace}" has no room to create secrets: raise it, or '
        "delete what is not needed.",
        fresh=True,
        prepare=lambda _: None,
        break_=full,
        mend=lambda site: site.world.delete("ResourceQuota", "full"),
    ),
)
