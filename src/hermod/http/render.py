"""The job object, as bytes (wire-contract 3.1). Results are copied in as they are stored."""

import json

from hermod.domain.job import WIRE_STATUS, JobView, State
from hermod.domain.wire_time import rfc3339


def job_json(job: JobView) -> bytes:
    """The job as its owner sees it. Members without a value are left out."""
    head = f'{{"id":"{job.id}","status":"{WIRE_STATUS[job.state]}"'
    expires_at = job.expires_at
    if expires_at is None and job.ttl_requested:
        # The earliest possible expiry, until completion says when (wire-contract 3.4).
        expires_at = job.created_at + job.ttl_s * 1_000_000
    if expires_at is not None:
        head += f',"expires_at":"{rfc3339(expires_at)}"'
    head += f',"created_at":"{rfc3339(job.created_at)}"'
    if job.request_id is not None:
        head += f',"request_id":{json.dumps(job.request_id)}'
    if job.completed_at is None:
        return head.encode() + b"}\n"
    head += f',"completed_at":"{rfc3339(job.completed_at)}","status_code":{job.status_code}'
    member = b',"result":' if job.state is State.COMPLETED else b',"error":'
    return b"".join((head.encode(), member, job.body or b"null", b"}\n"))
