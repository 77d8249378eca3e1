"""What another plan asks for, by names of targets."""

from support import harness

from exporter.plan import plan_diff


class Nowhere:
    """Where no stand-in is needed."""

    key_file = "key"

    @staticmethod
    def url(path, **_):
        return f"ws://backend.example.com{path}"


def mapping(name, **changes):
    users = {f"{name}-{n}": f"{name}-user-{n}" for n in range(3)}
    return harness.target(Nowhere, name=name, **{"interval": "60s", "identities": users, **changes})


def jobs(*targets, **settings):
    return {job.name: job for job in harness.planned(*targets, **settings).jobs}


def names(part):
    return [getattr(job, "name", job) for job in part]


def test_targets_come_go_and_change_by_their_names():
    """Each is in one part at most, and what is wanted is in the order of the config."""
    before = jobs(mapping("stays"), mapping("goes"), mapping("changes"))
    wanted = harness.planned(mapping("comes"), mapping("changes", timeout="2s"), mapping("stays"), max_sessions=7)

    change = plan_diff(before, wanted)

    assert (names(change.added), names(change.removed), names(change.changed)) == (["comes"], ["goes"], ["changes"])
    assert names(change.recomputed) == []
    assert list(change.jobs) == ["comes", "changes", "stays"]
    assert change.jobs["stays"] is before["stays"], "who holds it must not notice"
    assert change.jobs["changes"] is wanted.jobs[1]
    assert change.max_sessions == 7


def test_what_others_leave_a_target_adjusts_it():
    """A neighbour at the same host changes the connects there, and nothing that is the target's own."""
    before = jobs(mapping("stays"))
    wanted = harness.planned(mapping("stays"), mapping("comes"))

    change = plan_diff(before, wanted)

    (recomputed,) = change.recomputed
    assert recomputed.name == "stays"
    assert recomputed == wanted.jobs[0] != before["stays"]
    assert recomputed.target is before["stays"].target, "its series need not be made anew"
    assert change.changed == ()


def test_the_permitted_rate_adjusts_and_a_profile_changes():
    """The rate is asked for by the next session only; a profile is another way to speak."""
    profile = {"chat": {"send": {"message": {"id": "${nonce}"}, "match": {"id": "${nonce}"}}}}
    plain = mapping("chat", profile="chat", auth=None)
    before = jobs(plain, profiles=profile)

    slower = plan_diff(before, harness.planned(plain, profiles=profile, max_connects_per_minute=30))
    spoken = {"chat": profile["chat"] | {"noise": [{"type": "ping"}]}}
    other = plan_diff(before, harness.planned(plain, profiles=spoken))

    assert (names(slower.recomputed), names(slower.changed)) == (["chat"], [])
    assert (names(other.recomputed), names(other.changed)) == ([], ["chat"])


def test_the_order_of_identities_is_a_change():
    """It says whose turn it is, although mappings of another order are equal."""
    users = {"a": "user-a", "b": "user-b"}
    turned = dict(reversed(users.items()))
    before = jobs(mapping("staging", identities=users))

    change = plan_diff(before, harness.planned(mapping("staging", identities=turned)))

    assert names(change.changed) == ["staging"]
    assert list(change.jobs["staging"].identities) == ["b", "a"]
