"""The external stores. One module or package per provider; ``base.py`` is their contract."""
