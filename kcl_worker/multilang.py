"""The properties of the MultiLangDaemon: their names, and the forms of their values.

Source: the setters of `MultiLangDaemonConfiguration` in amazon-kinesis-client-multilang 3.1, and what its
`MultiLangDaemonConfig` reads. The daemon ignores a name that it does not know; with a value that it cannot read
it does not start, or goes on without it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Final


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


WHOLE: Final = _names(
    """
    coordinatorStateReadCapacity coordinatorStateWriteCapacity dampeningPercentage failoverTimeMillis
    gracefulLeaseHandoffTimeoutMillis idleTimeBetweenReadsInMillis inMemoryWorkerMetricsCaptureFrequencyMillis
    initialLeaseTableReadCapacity initialLeaseTableWriteCapacity leaseAssignmentIntervalMillis
    listShardsBackoffTimeInMillis logWarningForTaskAfterMillis maxActiveThreads maxGetRecordsThreadPool
    maxLeaseRenewalThreads maxLeasesForWorker maxLeasesToStealAtOneTime maxListShardsRetryAttempts maxRecords
    metricsBufferTimeMillis metricsMaxQueueSize millisBehindLatestThresholdForReducedTps
    noOfPersistedMetricsPerWorkerMetrics parentShardPollIntervalMillis reBalanceThresholdPercentage
    retryGetRecordsInSeconds schedulerInitializationBackoffTimeMillis shardSyncIntervalMillis shutdownGraceMillis
    taskBackoffTimeMillis timeoutInSeconds varianceBalancingFrequency workerMetricsReadCapacity
    workerMetricsReporterFreqInMillis workerMetricsWriteCapacity
    """
)
REAL: Final = frozenset(("maxThroughputPerHostKBps", "workerMetricsEMAAlpha"))
LOGICAL: Final = _names(
    """
    allowThroughputOvershoot callProcessRecordsEvenForEmptyRecordList cleanupLeasesUponShardCompletion
    coordinatorStateDeletionProtectionEnabled coordinatorStatePointInTimeRecoveryEnabled disableWorkerMetrics
    enablePriorityLeaseAssignment ignoreUnexpectedChildShards isGracefulLeaseHandoffEnabled
    leaseTableDeletionProtectionEnabled leaseTablePitrEnabled skipShardSyncAtWorkerInitializationIfLeasesExist
    validateSequenceNumberBeforeCheckpointing workerMetricsDeletionProtectionEnabled
    workerMetricsPointInTimeRecoveryEnabled
    """
)
TEXT: Final = _names(
    """
    awsCredentialsProvider awsCredentialsProviderCloudWatch awsCredentialsProviderDynamoDB clientVersionConfig
    coordinatorStateBillingMode coordinatorStateTags dynamoDBEndpoint kinesisEndpoint metricsEnabledDimensions
    metricsLevel shardPrioritization staleWorkerMetricsEntryCleanupDuration workerMetricsBillingMode
    workerMetricsTags
    """
)
# The worker looks into the same tables, for the same stream, as the same worker: its own settings give these.
OWN: Final = _names(
    """
    applicationName coordinatorStateTableName executableName initialPositionInStream initialPositionInStreamExtended
    processingLanguage regionName retrievalMode streamArn streamName tableName workerId workerIdentifier
    workerMetricsTableName
    """
)
# Builders of the SDK's clients and KCL's own parts, with properties of their own: `fanoutConfig.consumerName`.
PARTS: Final = _names(
    """
    cloudWatchClient cloudWatchCredentialsProvider coordinatorStateTableConfigBean dynamoDBCredentialsProvider
    dynamoDbClient fanoutConfig gracefulLeaseHandoffConfigBean kinesisClient kinesisCredentialsProvider
    pollingConfig workerMetricStatsTableConfigBean workerUtilizationAwareAssignmentConfigBean
    """
)
LARGEST: Final = 2**31 - 1  # of Java's `int`, which most of them are


def properties(text: str) -> dict[str, str]:
    """Reads `name = value; name = value`.

    Raises:
        ValueError: For what is no such line, a name that the daemon does not know, or a value that it cannot read.
    """
    return dict(_read(text))


def _read(text: str) -> Iterator[tuple[str, str]]:
    for line in filter(None, (line.strip() for line in text.split(";"))):
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not re.fullmatch(r"[A-Za-z][A-Za-z0-9.]*", name):
            raise ValueError(f"{line!r} is not `name = value`; lines are separated by `;`")
        _check_name(name)
        _check_value(name, value)
        yield name, value


def _check_name(name: str) -> None:
    if name in OWN:
        raise ValueError(f"{name} follows the worker's own settings")
    part, dot, _ = name.partition(".")
    known = PARTS if dot else WHOLE | REAL | LOGICAL | TEXT
    if part not in known:
        near = get_close_matches(part, known, 1)
        meant = f"; is it {near[0]}?" if near else ", see MultiLangDaemonConfiguration of KCL 3.1"
        raise ValueError(f"{name} is no property of the daemon{meant}")


def _check_value(name: str, value: str) -> None:
    if name in WHOLE and not (re.fullmatch(r"\d{1,10}", value, re.ASCII) and int(value) <= LARGEST):
        raise ValueError(f"{name} = {value!r}: a whole number is needed, up to {LARGEST}")
    if name in REAL and not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value, re.ASCII):
        raise ValueError(f"{name} = {value!r}: a number is needed")
    if name in LOGICAL and value not in ("true", "false"):
        raise ValueError(f"{name} = {value!r}: true or false is needed")
