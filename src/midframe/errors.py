"""Errors that are meant for the person at the keyboard."""


class UserError(Exception):
    """Something the user can put right: bad input, a wrong option, a missing file.

    The message is one clear line: what is wrong, where, and what to do. Entry points print it
    without a traceback and exit with code 2.
    """
