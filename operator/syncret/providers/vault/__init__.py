"""HashiCorp Vault and OpenBao: the key/value engines, versions 1 and 2.

::

    provider.py     what the registry makes: parse, open
      client.py       the client: reads, searches, the check
        keys.py         pure: which mount and path a key means
        kv.py           pure: answers of the key/value engines as values
        search.py       pure: how a tree is listed page by page
        mounts.py       pure: whether a mount is what the store says
      tokens.py       one token for all readers: login, renewal, loss
        login.py        how each auth method proves who asks
          iam.py, gcp.py  the proofs of AWS and Google
      wire.py         hvac and requests: one call, its failures as ours
        tls.py          what is trusted, and what is shown
      answers.py      Vault's answers as failures of ours
      timing.py       how long things may take
      config.py       ``spec.provider.vault`` as a record
        auth.py         ``auth`` of that
"""
