"""Google's SDK silences its loggers where it is imported, unless they have a level by then."""

import logging

logging.getLogger("google").setLevel(logging.WARNING)
