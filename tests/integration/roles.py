"""A ServiceAccount of a test's own, with the chart's rights or with less."""

from dataclasses import dataclass
from typing import Final

from integration.api import Api
from integration.world import leases
from testbed.operator import NAMESPACE

Permission = tuple[str, str, str]  # group, resource, verb

_RBAC: Final = "rbac.authorization.k8s.io"


@dataclass
class NarrowRole:
    """The chart's role without some permissions, bound to a ServiceAccount."""

    api: Api
    name: str = "narrow"

    def lack(self, *missing: Permission) -> None:
        chart = self.api.get("ClusterRole", "syncret")
        assert chart is not None
        rules = [
            {
                "apiGroups": [group],
                "resources": [resource],
                "verbs": [verb for verb in rule["verbs"] if (group, resource, verb) not in missing],
            }
            for rule in chart["rules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
        ]
        self.api.apply(
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": self.name, "namespace": NAMESPACE},
            },
            {
                "apiVersion": f"{_RBAC}/v1",
                "kind": "ClusterRole",
                "metadata": {"name": self.name},
                "rules": [rule for rule in rules if rule["verbs"]],
            },
            {
                "apiVersion": f"{_RBAC}/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": self.name},
                "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": self.name},
                "subjects": [{"kind": "ServiceAccount", "name": self.name, "namespace": NAMESPACE}],
            },
            *leases(self.api, self.name, NAMESPACE, account=self.name),
        )

    def remove(self) -> None:
        for kind in ("ClusterRoleBinding", "ClusterRole"):
            self.api.delete(kind, self.name)
        for kind in ("RoleBinding", "Role", "ServiceAccount"):
            self.api.delete(kind, self.name, NAMESPACE)
