"""Every error and warning of the library, each also the built-in that a caller would catch."""


class SkmindError(Exception):
    """Base of every error that skmind raises itself."""


class InvalidInputError(SkmindError, ValueError):
    """A table, column or argument is illegal; the message says which and what is legal."""


class IdTypeError(SkmindError, TypeError):
    """Ids of another kind than those of ``fit``, or ids or categories that are no scalars."""


class UnknownIdError(SkmindError, KeyError):
    """An id that ``fit`` has not seen, where the caller asked for known ids only."""

    __str__ = Exception.__str__  # KeyError would print the repr of the message


class DatasetUnavailableError(SkmindError, OSError):
    """A dataset is neither cached nor downloadable, or its download is damaged."""


class ExportError(SkmindError, RuntimeError):
    """An exported model does not give what the fitted one gives; nothing was written."""


class SkmindWarning(UserWarning):
    """Base of every warning that skmind raises itself."""


class NothingToLearnWarning(SkmindWarning):
    """No user has two interactions, so there is nothing to train on."""


class NothingToScoreWarning(SkmindWarning):
    """No row can be scored; the score is nan."""


class IgnoredDataWarning(SkmindWarning):
    """Columns or rows of the input are not used; the message names them."""


class InterestCollapseWarning(SkmindWarning):
    """The interests of users who have several are practically one vector."""


class ShortageWarning(SkmindWarning):
    """Some users get fewer items than were asked for, as no more are eligible."""


class ExactSearchWarning(SkmindWarning):
    """An approximate index is not used, as it would not be faster at the recall it must reach."""
