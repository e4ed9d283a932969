"""The facts of a search that has not begun, for tests of what is written and read."""

from tune_sketch.config.settings import Settings
from tune_sketch.storage.facts import DataFacts, Facts, Host, Session, WeightsFacts


def make_facts(settings: Settings | None = None, **changes: object) -> Facts:
    """Facts of these settings, or of the baseline on doodles."""
    data = DataFacts(
        fingerprint="abc",
        cache="cache",
        published="cache",
        synthetic=True,
        num_images=10,
        class_names=("cat", "dog"),
        has_photos=False,
        num_train=6,
        num_validation=2,
        num_test=2,
        skipped=(),
        leaky_split=False,
    )
    weights = WeightsFacts(None, "baseline: trained from scratch", False)
    settings = settings or Settings("baseline", weights="none")
    return Facts(
        **({"study_name": "s", "storage": None, "settings": settings, "data": data, "weights": weights} | changes)
    )


def make_session(started_at: float, **changes: object) -> Session:
    """A session that began then."""
    fields = {"time": "2026-01-01T00:00:00+00:00", "command": ("search.py",), "versions": {"ray": None}}
    return Session(
        **({"started_at": started_at, "git_commit": None, "host": Host("Linux", "x86_64", 2)} | fields | changes)
    )
