"""The cost of a session with a credential that must be refused."""

from exporter.budget import SessionCost, user_key
from exporter.config import rare_cases
from exporter.plan.job import Job
from exporter.result import RefusalCase


def refusal_cost(job: Job, cost: SessionCost, case: RefusalCase, subject: str) -> SessionCost:
    """Return the cost without the good token; a slot of the subject only if the credential looks like a good one."""
    forged = case in rare_cases(job.target)
    user = user_key(job.authority, subject) if forged and subject else None
    return cost._replace(key=None, user=user, forged=forged)
