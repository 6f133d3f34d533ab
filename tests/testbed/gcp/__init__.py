"""Google Cloud as far as a reader of Secret Manager sees it: a stand-in of ours.

There is no emulator in the registries, so this is one, in a process of its own, driven by the real
clients (``SecretManagerServiceAsyncClient``, google-auth)::

    handle.py     what tests hold: starts the process, and steers it over HTTP
    server.py     the process: puts the parts together
      store.py      secrets, versions, permissions, faults: the state of the world
      service.py    Secret Manager over gRPC, with the proto types of google-cloud-secret-manager
      issuer.py     the token endpoints over HTTP: OAuth 2, STS, IAM credentials, metadata server
      relay.py      a TCP relay in front of the gRPC port that resets and trickles

What is known of the real service comes from its documentation, its proto files and what its users
report of its messages; the real service was not seen.
"""
