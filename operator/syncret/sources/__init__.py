"""Events of external stores, as hints: read this now.

::

    running.py          which sources there are, when they run, and what of them is told
      sqs.py pubsub.py storagequeue.py vaultevents.py    pull messages; each knows one SDK
      hooks.py            takes signed requests, where that is switched on
    dispatch.py         from a message to the ExternalSecrets that it concerns, and to the queue
      events.py           pure: what a message says, in each of the shapes that clouds send
      names.py            pure: whether a key of a store and a name in an event are the same secret
    config.py           the file that names the sources

An event carries no value and is believed in nothing but this: that somebody should look. It makes
a refresh due that would have come later, with every check that a refresh has. So a forged event
costs a read, a lost one is caught up with by the refresh interval, and one that comes twice
changes nothing.
"""
