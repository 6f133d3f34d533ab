"""HashiCorp Vault and OpenBao: the key/value engines, and static roles of databases and LDAP.

::

    provider.py     what the registry makes: parse, open
      opening.py      from a record to the way to its Vault
      client.py       the client of key/value engines: reads, searches, the check
        keys.py         pure: which mount and path a key means
        kv.py           pure: answers of the key/value engines as values
        search.py       pure: how a tree is listed page by page
      roles.py        the client of static roles: the same, and rotation
      mounts.py       whether a mount is what the store says
      asking.py       a call with a token that Vault knows
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
