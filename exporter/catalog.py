"""The built-in profiles by name: those of `profiles`, and the files of `exporter/profiles_data`, read when first used.

Rule 1: a file is read by the same loader, model and checks as a profile of a user's config; a broken one is the
package's own fault: it raises, and is not reported as a mistake in the config.
"""

from pathlib import Path
from typing import Final

from exporter.config import Profile, ProfileCatalog, load_yaml, profile_problems
from exporter.profiles import BUILT_IN

PROFILES_FOLDER: Final = Path(__file__).with_name("profiles_data")


def read_profile(name: str) -> Profile:
    """Return the profile in the file of this name; raises ValueError for a profile that contradicts itself."""
    profile = Profile.model_validate(load_yaml((PROFILES_FOLDER / f"{name}.yml").read_bytes()))
    problems = list(profile_problems(profile))
    if problems:
        raise ValueError(f"{name}.yml: {problems[0]}")
    return profile


CATALOG: Final = ProfileCatalog(
    BUILT_IN, tuple(sorted(path.stem for path in PROFILES_FOLDER.glob("*.yml"))), read_profile
)
