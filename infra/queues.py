"""Queues, each with its dead-letter queue. Stateful: messages wait in them."""

from collections.abc import Iterable

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from cardwright.kernel.rows import Queue
from infra import bounces
from infra.alarms import AlarmsStack, alarm_on
from infra.capabilities import EVENT_QUEUE, NOTIFICATION_QUEUE
from infra.handles import QueueHandle
from infra.naming import pascal
from infra.stages import Stage


class QueuesStack(cdk.Stack):
    """The queues the catalogue's consumers name."""

    def __init__(
        self,
        scope: Construct,
        stage: Stage,
        env: cdk.Environment,
        *,
        rows: Iterable[Queue],
        storage_key: kms.IKey,
        alarms: AlarmsStack,
    ) -> None:
        super().__init__(
            scope,
            f"{stage.prefix}-queues",
            env=env,
            termination_protection=stage.termination_protection,
            description="Queues and their dead-letter queues",
        )
        self._stage = stage
        self._key = storage_key
        self._alarms = alarms
        consumers = {row.queue: row for row in rows}
        for name in (EVENT_QUEUE, NOTIFICATION_QUEUE):
            if name not in consumers:
                raise ValueError(f"no row of the catalogue consumes the queue {name!r}")
        self.handles = {name: self._queue(row) for name, row in sorted(consumers.items())}

    def _queue(self, row: Queue) -> QueueHandle:
        dead = sqs.Queue(
            self,
            f"{pascal(row.queue)}Dead",
            queue_name=f"{self._stage.prefix}-{row.queue}-dead",
            encryption=sqs.QueueEncryption.KMS,
            encryption_master_key=self._key,
            enforce_ssl=True,
            retention_period=cdk.Duration.days(14),
        )
        queue = sqs.Queue(
            self,
            pascal(row.queue),
            queue_name=f"{self._stage.prefix}-{row.queue}",
            encryption=sqs.QueueEncryption.KMS,
            encryption_master_key=self._key,
            enforce_ssl=True,
            visibility_timeout=cdk.Duration.seconds(row.visibility_s),
            retention_period=cdk.Duration.days(14),
            dead_letter_queue=sqs.DeadLetterQueue(queue=dead, max_receive_count=row.max_receives),
        )
        alarm_on(
            self,
            f"{pascal(row.queue)}DeadLetters",
            self._alarms,
            metric=dead.metric_approximate_number_of_messages_visible(period=cdk.Duration.minutes(1), statistic="Maximum"),
            above=0,
            description=f"Messages of queue {row.queue} failed {row.max_receives} times",
        )
        alarm_on(
            self,
            f"{pascal(row.queue)}Late",
            self._alarms,
            metric=queue.metric_approximate_age_of_oldest_message(period=cdk.Duration.minutes(1), statistic="Maximum"),
            above=300,
            periods=5,
            description=f"The oldest message of queue {row.queue} has waited for over five minutes",
            missing=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        if row.queue == bounces.QUEUE:
            bounces.feed_bounces(self, self._stage, queue, self._key)
        return QueueHandle(url=queue.queue_url, arn=queue.queue_arn, dead_arn=dead.queue_arn)
