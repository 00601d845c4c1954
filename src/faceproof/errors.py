"""The one kind of error that a user is meant to read."""


class FaceproofError(ValueError):
    """Something the user can mend: it says what was wrong, what was found, and what to do.

    The entry points print it as one message without a traceback. Every other exception is a
    defect of ours and keeps its traceback.

    Examples:
        >>> import faceproof as fp
        >>> try:
        ...     fp.list_data("demo", num_per_clas=20)
        ... except fp.FaceproofError as error:
        ...     print("did you mean data.num_per_class" in str(error))
        True
    """
