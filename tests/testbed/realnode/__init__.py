"""A real Kubernetes node without Docker: containerd, runc and a kubelet of our own, as root.

Joins a :class:`~testbed.controlplane.ControlPlane` that listens on loopback, and keeps it so: what
runs on the node's bridge reaches the servers of this machine through address translation, for the
ports that are named and for no others.
"""

from testbed.realnode.images import ImageError, Images
from testbed.realnode.node import RealNode
from testbed.realnode.requirements import missing_requirements

__all__ = ["ImageError", "Images", "RealNode", "missing_requirements"]
