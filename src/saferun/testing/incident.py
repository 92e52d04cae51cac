"""An incident file in a test: what the policies as they are now decide on its calls."""

from collections.abc import Collection
from pathlib import Path

from saferun import config
from saferun.config import Config
from saferun.incident import Policies, Retried, by_name, opened, retried
from saferun.policy import Policy, load


def redecided(
    file: str | Path,
    *,
    policy: str | Path | Policy | None = None,
    stops: Collection[str] = (),
    settings: Config | None = None,
) -> dict[str, Retried]:
    """Decide the calls of an incident file once more. Nothing acts.

    Returns what came of each, by its frame: `redecided("it.saferun")["ticket-31#2"].stopped`.
    `saferun policy test --incidents` does the same for a folder of files.

    Args:
        file: the incident file.
        policy: what decides on all of them: a name, the path of a file, or a policy. By default
            each is decided on by the policy of the name that it was decided on then, and by the
            configured one where none was.
        stops: frames that are to be stopped, as if somebody had labelled them so.
        settings: the configuration; that of the working folder by default.

    Raises:
        IncidentError: it is no incident file, or was changed.
        PolicyError: a policy cannot be used.
        ValueError: `stops` has a frame that is no call of the file.

    """
    chosen = settings or config.load()
    with opened(Path(file)) as found:
        calls = retried(
            found, _policies(policy, chosen), environment=chosen.environment, stops=stops
        )
        told = {each.place: each for each in calls}
    strange = sorted(set(stops) - told.keys())
    if strange:
        raise ValueError(f"{file} has no call at {', '.join(strange)}")
    return told


def _policies(named: str | Path | Policy | None, settings: Config) -> Policies:
    if named is None:
        return by_name(settings)
    only = named if isinstance(named, Policy) else load(settings.policy_file(named))
    return lambda _: only
