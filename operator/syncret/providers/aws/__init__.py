"""AWS: Secrets Manager and Parameter Store.

::

    provider.py         what the registry makes: parse, open
      client.py           what the clients of both services do alike
      secrets_manager.py    how reads become calls, and how their failures are shared out
        ids.py                pure: what goes into one batch, which result answers which reference
        search.py             pure: what ListSecrets filters, what is found
      parameter_store.py    the same
        parameters.py         pure
        parameter_search.py   pure
        pace.py               so many calls in a second
      arns.py             pure: which ARNs a store reads
      tags.py             pure: tags as both answer them
      identity.py         that there is a session, and that it does not expire
        sts.py              logins: tokens of ServiceAccounts, chains of roles
        keys.py             access keys that nothing prints
      session.py          boto3: one session, clients
        sdk.py              its way to credentials that are renewed
      errors.py           botocore's failures as ours
      config.py           ``spec.provider.aws`` as a record
      services.py         the services, and how messages speak of them
"""
