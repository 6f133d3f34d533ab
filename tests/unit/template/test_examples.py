"""The examples of docs/templates.md give Secrets."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.objects import secret_body
from support.pki import Issuer
from syncret.api.externalsecret import parse_external_secret
from syncret.digest import Digester
from syncret.reconcile.shape import TLS
from syncret.reconcile.templating import Templating
from syncret.template.pool import Pool

PAGE = Path(__file__).resolve().parents[3] / "docs" / "templates.md"
LEAF = Issuer("leaf", san="app.example.com")
ROOT = Issuer("root")

VALUES = {
    "username": "app",
    "password": 'a\'b/ "c": $d',
    "host": "db.example.com",
    "dbname": "shop",
    "certificate": Issuer("leaf", by=ROOT, key=LEAF.key, san="a.example.com").pem + ROOT.pem,
    "key": LEAF.key_pem,
}
FORMS = {
    "application.properties": "db.user={{ username }}\n",
    "others": "user: {{ username | to_json }}\n",
    "license.txt": "for {{ username }}\n",
}


def examples() -> list[Any]:
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    return [document for block in blocks for document in yaml.safe_load_all(block)]


class Forms:
    """The ConfigMap and the Secret that examples name."""

    async def get(self, resource: Any, *, name: str, namespace: str = "") -> dict[str, Any]:
        assert (name, namespace) == ("payments-templates", "payments")
        if resource.kind == "ConfigMap":
            return {"data": FORMS}
        return secret_body(data={key: text.encode() for key, text in FORMS.items()})


@pytest.mark.parametrize("body", examples(), ids=lambda body: body["metadata"]["name"])
async def test_an_example_gives_a_secret(body: Any, pool: Pool) -> None:
    body["metadata"] |= {"uid": "u", "generation": 1}
    external_secret = parse_external_secret(body)
    assert external_secret.problem == ""
    if external_secret.transforms:
        (step,) = external_secret.data_from[0].rewrite
        names = await pool.render_each("x", step.template, [{"value": "user"}])  # type: ignore[union-attr]
        assert names == ["DB_USER"]
        return
    templating = Templating(kube=Forms(), pool=pool, digester=Digester(b"k" * 32))
    values = {name: value.encode() for name, value in VALUES.items()}
    made = await (await templating.make(external_secret, values)).finish()
    assert made.data
    assert made.shape.type != TLS
    match external_secret.key.name:
        case "payments-config":
            document = yaml.safe_load(made.data["config.yaml"])
            assert document == {
                "database": {"host": VALUES["host"], "password": VALUES["password"]}
            }
            lines = made.data[".env"].decode().splitlines()
            assert "HOST=db.example.com" in lines
        case "payments-registry":
            document = json.loads(made.data[".dockerconfigjson"])
            assert document["auths"].keys() == {VALUES["host"]}
        case "payments-files":
            assert made.data["license.txt"] == b"for app\n"
            assert made.data["user"] == b"app"
            assert made.data["copy-of-password"].decode() == VALUES["password"]
            assert made.shape.labels == {"team": "payments"}
            assert made.shape.annotations == {"example.com/host": VALUES["host"]}
