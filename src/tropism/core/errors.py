"""What can go wrong, by what the caller can do about it.

TropismError
└── InvalidInputError      the input is wrong: correct it, the same call fails again
"""


class TropismError(Exception):
    """Any error that Tropism raises on purpose."""


class InvalidInputError(TropismError):
    """The input breaks a rule that the message states; trying again unchanged is no use."""
