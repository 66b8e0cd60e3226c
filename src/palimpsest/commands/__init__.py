"""What a person can type: one file per command, which offers a function of the same name.

Each imports what it needs when it is called, so that `palimpsest --help` is quick.
"""
