"""A person's mistake: shown as one line, never as a traceback."""


class Fault(Exception):
    """Says where the mistake stands, what it is and what to do; the command line exits with 2."""
