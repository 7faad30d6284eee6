"""Asks for features through Temporal without a workflow.

pip install temporalio==1.35.0
python examples/standalone-activity.py 11
"""

import asyncio
import json
import os
import sys
import time
from datetime import timedelta

from temporalio.client import ActivityFailureError, Client
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError


async def main() -> None:
    entity = sys.argv[1] if len(sys.argv) > 1 else "11"
    client = await Client.connect(os.environ.get("TEMPORAL_ADDRESS", "127.0.0.1:7233"))
    try:
        answer = await client.execute_activity(
            "getOnlineFeatures",
            {"service": "model_x", "entities": [{"id": entity}]},
            id=f"model_x-{entity}-{time.time_ns()}",
            task_queue=os.environ.get("ONCEFLOW_QUEUE", "onceflow") + "-online",
            # Of one attempt, and of all of them with the waits between.
            start_to_close_timeout=timedelta(seconds=2),
            schedule_to_close_timeout=timedelta(seconds=10),
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=100)),
        )
    except ActivityFailureError as error:
        # Such as UNKNOWN_SERVICE; docs/errors.md lists the codes.
        if not isinstance(error.cause, ApplicationError):
            raise
        sys.exit(f"{error.cause.type}: {error.cause.message}")
    print(json.dumps(answer))


asyncio.run(main())
