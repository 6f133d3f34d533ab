"""``syncret cost``: what the calls to the stores cost in a month, computed from manifests.

::

    command.py    the command line
      report.py     what is printed
      fleet.py      pure: manifests -> who reads what, from which store, how often
      estimate.py   pure: how many calls that makes, by Syncret's own rules and by ESO's
      prices.py     the price lists

Nothing is asked of any store, and nothing here is imported by the operator.
"""
