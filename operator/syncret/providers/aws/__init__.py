"""AWS: Secrets Manager.

::

    provider.py         what the registry makes: parse, open
      secrets_manager.py  the client: how reads become calls, and how their failures are shared out
        ids.py              pure: what goes into one batch, which result answers which reference
        search.py           pure: what ListSecrets filters, what is found, tags
        calls.py            threads, limits and observation of calls
      session.py          boto3: one session, credentials, clients
      errors.py           botocore's failures as ours
      config.py           ``spec.provider.aws`` as a record
"""
