"""The text in the log for an error of the operating system on a state file."""

import errno


def file_error_text(error: OSError) -> str:
    """Return why a file cannot be used, as the end of a sentence that begins with its path."""
    if error.errno == errno.ENOENT:
        return "cannot be used: its folder does not exist: create it, or correct the path"
    return f"cannot be used: {error.strerror or errno.errorcode.get(error.errno or 0, 'unknown error')}"
