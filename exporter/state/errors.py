"""What an error of the operating system means for a file of ours, in words for who reads the log."""

import errno


def unusable(error: OSError) -> str:
    """Why a file cannot be used, to follow its path."""
    if error.errno == errno.ENOENT:
        return "cannot be used: its folder does not exist: create it, or correct the path"
    return f"cannot be used: {error.strerror or errno.errorcode.get(error.errno or 0, 'unknown error')}"
