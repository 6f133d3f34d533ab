"""Credentials that Vault makes when they are asked for: users of databases, keys of clouds, tokens.

The login, the connection and its failures are those of the stores of Vault
(:mod:`syncret.providers.vault`)::

    generator.py    what the registry makes: parse, open
      client.py       the client: generate, renew, revoke, the check
        holder.py       pure: what a lease remembers of the token that made it
        results.py      pure: Vault's answers as values and leases
      config.py       the spec as a record
"""
