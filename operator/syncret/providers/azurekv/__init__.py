"""Azure Key Vault.

::

    provider.py         what the registry makes: parse, open
      client.py           how references become calls, searches, the check
        objects.py          pure: what a key names, what is made of an answer
      session.py          connections, TLS, the SDK's clients
      login.py            one token for all readers of a store
        identity.py         which credential of azure-identity that is
      errors.py           azure-core's failures as ours
      entra.py            those of a login
      config.py           ``spec.provider.azurekv`` as a record
      timing.py           timeouts and attempts
"""
