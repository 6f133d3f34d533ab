"""Google Cloud: Secret Manager.

::

    provider.py         what the registry makes: parse, open
      opening.py          imports the SDK, and puts an open store together
        secret_manager.py   the client: how reads become calls
          calls.py            one call: its token, its time, its failure
          names.py            pure: references, resource names, versions
          search.py           pure: what ListSecrets filters, what is found, labels
          facts.py            pure: what is known of secrets beside their values
          budget.py           pure: how many free reads of metadata are made
          crc32c.py           pure: the checksum of a payload
        channels.py         gRPC: connections, answers that show no secret
        tokens.py           access tokens: one login at a time, renewed before they expire
          identity.py         google-auth: who a store reads as
          keyfile.py          a service account's key
          credconfig.py       pure: a configuration file of Workload Identity Federation
          web.py              HTTP for google-auth: bounded, without redirects, observed
      errors.py           failures of Secret Manager as ours
      logins.py           failures of the token endpoints as ours
      config.py           ``spec.provider.gcpsm`` as a record
"""
