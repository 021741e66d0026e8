"""Dashboards as plain data: what each panel asks for, and in which unit.

`[$__rate_interval]` is Grafana's. Counters of what seldom happens end in `or vector(0)`: a line at zero says that
nothing happened, an empty panel could be a wrong query.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Panel:
    """`queries`: legend → query. A panel is a graph, or a single number where `stat`."""

    title: str
    queries: dict[str, str]
    unit: str = "short"
    help: str = ""
    stat: bool = False


@dataclass(frozen=True)
class Board:
    title: str
    rows: dict[str, list[Panel]] = field(default_factory=dict)


RATE = "[$__rate_interval]"
OR_NONE = " or vector(0)"


def rate(name: str, *by: str, **labels: str) -> str:
    """Per second, summed by these labels."""
    inner = ", ".join(f'{label}=~"{value}"' for label, value in labels.items())
    grouped = f" by ({', '.join(by)})" if by else ""
    return f"sum{grouped} (rate({name}{{{inner}}}{RATE}))" if inner else f"sum{grouped} (rate({name}{RATE}))"


def quantiles(name: str, *by: str) -> dict[str, str]:
    """Median, 95th and 99th percentile of a histogram."""
    labels = "".join(f", {label}" for label in by)
    legend = "".join(f" {{{{{label}}}}}" for label in by)
    return {
        f"p{share}{legend}": f"histogram_quantile(0.{share}, sum by (le{labels}) (rate({name}_bucket{RATE})))"
        for share in (50, 95, 99)
    }


def p95(name: str, by: str) -> dict[str, str]:
    return {f"{{{{{by}}}}}": f"histogram_quantile(0.95, sum by (le, {by}) (rate({name}_bucket{RATE})))"}


def mean(name: str, by: str) -> dict[str, str]:
    return {f"{{{{{by}}}}}": f"{rate(f'{name}_sum', by)} / {rate(f'{name}_count', by)}"}


_HTTP = "eco2_http_request_seconds"
_GRPC_FAILED = rate("eco2_grpc_request_seconds_count", "process", status="INTERNAL|UNKNOWN|UNAVAILABLE")
_QUEUE = "rabbitmq_detailed_queue"
_LETTERS = 'queue=~"dlq[.].*|q[.]dlq"'
_WORK = 'queue!~"dlq[.].*|q[.]dlq"'
_FAILED, _ENDED = rate("eco2_scans_ended_total", outcome="failed"), rate("eco2_scans_ended_total")
_DISKS = 'fstype!~"tmpfs|overlay|squashfs"'
_DISK_USE = f"1 - node_filesystem_avail_bytes{{{_DISKS}}} / node_filesystem_size_bytes{{{_DISKS}}}"
_CPU = f'1 - avg by (instance) (rate(node_cpu_seconds_total{{mode="idle"}}{RATE}))'
_MISSING = "kube_deployment_spec_replicas - kube_deployment_status_replicas_available > 0"
_RESTARTS = "sum by (namespace, container) (increase(kube_pod_container_status_restarts_total[1h])) > 0"
_VOLUMES = "1 - kubelet_volume_stats_available_bytes / kubelet_volume_stats_capacity_bytes"
_MESH = f'istio_request_duration_milliseconds_bucket{{reporter="source"}}{RATE}'
_HITS, _READS = rate("pg_stat_database_blks_hit"), rate("pg_stat_database_blks_read")
_CHAT_TOKENS = f'sum by (node, direction) (rate(eco2_llm_tokens_total{{node!=""}}{RATE})){OR_NONE}'
# Calls for chats are no scans'.
_HOURLY_COST = 'sum(increase(eco2_llm_cost_usd_total{node=""}[1h]))'
_HOURLY_SCANS = "sum(increase(eco2_scans_ended_total[1h]))"

PLATFORM = Board(
    "Eco² platform",
    {
        "Objectives": [
            Panel(
                "Requests that fail",
                {"5 minutes": "eco2:request_errors:ratio_rate5m", "1 hour": "eco2:request_errors:ratio_rate1h"},
                "percentunit",
                "Objective: 1 % over 30 days. 14.4 % for an hour calls the operator.",
            ),
            Panel(
                "Scans that fail or take longer than 5 s",
                {"5 minutes": "eco2:scan_misses:ratio_rate5m", "1 hour": "eco2:scan_misses:ratio_rate1h"},
                "percentunit",
                "Objective: 1 % over 30 days.",
            ),
            Panel(
                "Budget of failed requests left",
                {"": "eco2:request_errors:budget_left30d"},
                "percentunit",
                "1 is the whole budget of 30 days; below 0 no new feature goes out.",
                stat=True,
            ),
            Panel(
                "Budget of slow or failed scans left",
                {"": "eco2:scan_misses:budget_left30d"},
                "percentunit",
                "1 is the whole budget of 30 days.",
                stat=True,
            ),
        ],
        "Processes": [
            Panel("Targets that answer", {"{{job}}": "sum by (job) (up)"}),
            Panel("Requests", {"{{service}}": rate(f"{_HTTP}_count", "service")}, "reqps"),
            Panel(
                "CPU of our processes",
                {"{{process}}": rate("process_cpu_seconds_total", "process")},
            ),
            Panel(
                "Memory of our processes", {"{{process}}": "sum by (process) (process_resident_memory_bytes)"}, "bytes"
            ),
        ],
        "Nodes": [
            Panel(
                "CPU in use",
                {"{{instance}}": _CPU},
                "percentunit",
            ),
            Panel(
                "Memory in use",
                {"{{instance}}": "1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes"},
                "percentunit",
            ),
            Panel(
                "Disk in use",
                {"{{instance}} {{mountpoint}}": _DISK_USE},
                "percentunit",
            ),
            Panel("Load", {"{{instance}}": "node_load1"}),
        ],
        "Kubernetes": [
            Panel(
                "Pods missing",
                {"{{namespace}}/{{deployment}}": _MISSING},
            ),
            Panel(
                "Containers that start again",
                {"{{namespace}}/{{container}}": _RESTARTS},
            ),
            Panel("Pods by phase", {"{{phase}}": "sum by (phase) (kube_pod_status_phase)"}),
            Panel(
                "Volumes in use",
                {"{{persistentvolumeclaim}}": _VOLUMES},
                "percentunit",
            ),
            Panel(
                "Certificates end in",
                {"{{name}}": "certmanager_certificate_expiration_timestamp_seconds - time()"},
                "s",
            ),
        ],
    },
)

SCAN = Board(
    "Eco² scans",
    {
        "Scans": [
            Panel("Scans by outcome", {"{{outcome}}": rate("eco2_scans_ended_total", "outcome")}, "ops"),
            Panel("Time to the answer", quantiles("eco2_scan_seconds"), "s"),
            Panel(
                "Share that fails",
                {"": f"({_FAILED}{OR_NONE}) / {_ENDED}"},
                "percentunit",
                "A failed scan is 200 on the wire.",
            ),
            Panel("Open scans", {"open": "max(eco2_scan_open_jobs)"}),
            Panel(
                "Oldest scan that waits",
                {"for its {{waits_for}}": "max by (waits_for) (eco2_scan_oldest_seconds)"},
                "s",
            ),
            Panel(
                "Jobs that the sweeper took care of",
                {"all": f"{rate('eco2_scan_swept_total')}{OR_NONE}"},
                "ops",
            ),
        ],
        "Stages": [
            Panel(
                "Work",
                {"{{task}} {{outcome}}": rate("eco2_task_seconds_count", "task", "outcome", task="scan[.].*")},
                "ops",
            ),
            Panel("Time of a stage, p95", p95("eco2_task_seconds", "task"), "s"),
            Panel(
                "Where results came from",
                {"{{stage}} {{source}}": rate("eco2_scan_cache_total", "stage", "source")},
                "ops",
            ),
            Panel(
                "Looks answered from the cache",
                {"1 hour": "eco2:vision_cache_hits:ratio_rate1h"},
                "percentunit",
                "Objective: 70 %.",
            ),
            Panel("Replaced by the embedded model", {"all": f"{rate('eco2_scan_fallbacks_total')}{OR_NONE}"}, "ops"),
            Panel("Photos opened", {"{{outcome}}": rate("eco2_photos_opened_total", "outcome")}, "ops"),
        ],
        "Events": [
            Panel("Events forwarded", {"forwarded": rate("eco2_router_events_forwarded_total")}, "ops"),
            Panel("Events that wait", {"shard {{shard}}": "max by (shard) (eco2_router_lag)"}),
            Panel("Open streams", {"streams": "sum(eco2_sse_open_streams)", "jobs": "sum(eco2_sse_subscribed_jobs)"}),
            Panel(
                "Frames sent",
                {"sent": rate("eco2_sse_frames_sent_total"), "from the log": rate("eco2_sse_frames_replayed_total")},
                "ops",
            ),
            Panel("Rewards", {"{{reason}}": rate("eco2_points_entries_total", "reason")}, "ops"),
        ],
    },
)

CHAT = Board(
    "Eco² chat",
    {
        "Turns": [
            Panel("Turns", {"{{status}}": rate("eco2_chat_turns_total", "status")}, "ops"),
            Panel("Turns by intent", {"{{intent}}": rate("eco2_chat_turns_total", "intent")}, "ops"),
            Panel("Time to the stored answer", quantiles("eco2_chat_turn_seconds"), "s"),
            Panel(
                "Work on turns", {"{{outcome}}": rate("eco2_task_seconds_count", "outcome", task="chat[.].*")}, "ops"
            ),
        ],
        "Nodes": [
            Panel(
                "Nodes", {"{{intent}} {{outcome}}": rate("eco2_chat_node_seconds_count", "intent", "outcome")}, "ops"
            ),
            Panel("Time of a node, p95", p95("eco2_chat_node_seconds", "intent"), "s"),
            Panel("What chose the words", {"{{by}}": rate("eco2_chat_worded_total", "by")}, "ops"),
            Panel(
                "Sentences of a model dropped",
                {"dropped": rate("eco2_chat_sentences_dropped_total")},
                "ops",
                "They told of waste, which is for the rules, or had no end.",
            ),
            Panel("Turns that the keeper took care of", {"all": f"{rate('eco2_chat_kept_total')}{OR_NONE}"}, "ops"),
            Panel("Parts of texts sent", {"parts": rate("eco2_sse_tokens_sent_total")}, "ops"),
        ],
    },
)

EDGE = Board(
    "Eco² edge and sign-in",
    {
        "Requests": [
            Panel("Requests by status", {"{{status}}": rate(f"{_HTTP}_count", "status")}, "reqps"),
            Panel("5xx by service", {"all": f"{rate(f'{_HTTP}_count', status='5..')}{OR_NONE}"}, "reqps"),
            Panel("Time to answer, p95", p95(_HTTP, "service"), "s"),
            Panel("Routes, mean", mean(_HTTP, "route"), "s"),
            Panel("gRPC by status", {"{{status}}": rate("eco2_grpc_request_seconds_count", "status")}, "reqps"),
            Panel(
                "gRPC errors by process",
                {"{{process}}": f"{_GRPC_FAILED}{OR_NONE}"},
                "reqps",
                "INTERNAL, UNKNOWN and UNAVAILABLE; the others are answers.",
            ),
            Panel("gRPC, p95", p95("eco2_grpc_request_seconds", "method"), "s"),
        ],
        "Mesh": [
            Panel(
                "Requests at the gateway",
                {"{{response_code}}": rate("istio_requests_total", "response_code", reporter="source")},
                "reqps",
                "Of the mesh: they stand for the load balancer's.",
            ),
            Panel(
                "Time at the gateway, p95",
                {"p95": f"histogram_quantile(0.95, sum by (le) (rate({_MESH})))"},
                "ms",
            ),
        ],
        "Sign-in": [
            Panel("Decisions of ext-authz", {"{{outcome}}": rate("eco2_authz_decisions_total", "outcome")}, "ops"),
            Panel("Time to decide", quantiles("eco2_authz_check_seconds"), "s"),
            Panel("Age of the denylist", {"{{pod}}": "max by (pod) (eco2_authz_list_age_seconds)"}, "s"),
            Panel("Revoked sessions in memory", {"{{pod}}": "max by (pod) (eco2_authz_denied)"}),
            Panel("Sessions of guests", {"all": f"{rate('eco2_guest_sessions_total')}{OR_NONE}"}, "ops"),
        ],
    },
)

DATA = Board(
    "Eco² data tier",
    {
        "PostgreSQL": [
            Panel("Statements of our processes, mean", mean("eco2_db_statement_seconds", "process"), "s"),
            Panel("Connections of pools", {"{{process}} {{state}}": "sum by (process, state) (eco2_db_connections)"}),
            Panel(
                "Connections of the server",
                {"in use": "sum(pg_stat_database_numbackends)", "most": "max(pg_settings_max_connections)"},
            ),
            Panel(
                "Transactions",
                {
                    "committed": rate("pg_stat_database_xact_commit"),
                    "rolled back": rate("pg_stat_database_xact_rollback"),
                },
                "ops",
            ),
            Panel(
                "Blocks found in memory",
                {"": f"{_HITS} / ({_HITS} + {_READS})"},
                "percentunit",
            ),
            Panel("Size", {"{{datname}}": 'sum by (datname) (pg_database_size_bytes{datname=~"eco2"})'}, "bytes"),
        ],
        "Redis": [
            Panel(
                "Memory",
                {"{{instance}}": "redis_memory_used_bytes", "most {{instance}}": "redis_memory_max_bytes"},
                "bytes",
            ),
            Panel("Share of the streams' memory", {"": "max(eco2_router_memory_share)"}, "percentunit"),
            Panel("Commands", {"{{instance}}": rate("redis_commands_processed_total", "instance")}, "ops"),
            Panel("Clients", {"{{instance}}": "redis_connected_clients"}),
            Panel("Evicted keys", {"{{instance}}": rate("redis_evicted_keys_total", "instance")}, "ops"),
        ],
        "RabbitMQ": [
            Panel(
                "Memory of the broker",
                {
                    "in use": "sum(rabbitmq_process_resident_memory_bytes)",
                    "most": "sum(rabbitmq_resident_memory_limit_bytes)",
                },
                "bytes",
            ),
            Panel(
                "Connections of the broker",
                {"connections": "sum(rabbitmq_connections)", "channels": "sum(rabbitmq_channels)"},
            ),
            Panel("Free disk", {"free": "min(rabbitmq_disk_space_available_bytes)"}, "bytes"),
        ],
    },
)

QUEUES = Board(
    "Eco² queues and scheduled work",
    {
        "Queues": [
            Panel(
                "Messages that wait",
                {"{{vhost}} {{queue}}": f"sum by (vhost, queue) ({_QUEUE}_messages_ready{{{_WORK}}})"},
            ),
            Panel(
                "Messages in work",
                {"{{vhost}} {{queue}}": f"sum by (vhost, queue) ({_QUEUE}_messages_unacked{{{_WORK}}})"},
            ),
            Panel("Consumers", {"{{vhost}} {{queue}}": f"sum by (vhost, queue) ({_QUEUE}_consumers{{{_WORK}}})"}),
            Panel(
                "Dead letters",
                {"{{vhost}} {{queue}}": f"sum by (vhost, queue) ({_QUEUE}_messages_ready{{{_LETTERS}}})"},
            ),
            Panel("Age of messages when work begins, p95", p95("eco2_message_wait_seconds", "task"), "s"),
            Panel("Messages sent", {"{{routing_key}}": rate("eco2_messages_published_total", "routing_key")}, "ops"),
            Panel("Messages given up", {"all": f"{rate('eco2_tasks_given_up_total')}{OR_NONE}"}, "ops"),
        ],
        "Work": [
            Panel("Work", {"{{task}} {{outcome}}": rate("eco2_task_seconds_count", "task", "outcome")}, "ops"),
            Panel("Time of work, p95", p95("eco2_task_seconds", "task"), "s"),
            Panel(
                "In batches", {"{{queue}} {{outcome}}": rate("eco2_messages_consumed_total", "queue", "outcome")}, "ops"
            ),
        ],
        "Scheduled work": [
            Panel("Schedulers that lead", {"leading": "sum(eco2_scheduler_leading)"}),
            Panel("Oldest run that waits", {"waits": "max(eco2_runs_oldest_waiting_seconds)"}, "s"),
            Panel("Runs planned", {"planned": rate("eco2_runs_planned_total")}, "ops"),
            Panel(
                "Since a task was done",
                {"{{task}}": "time() - max by (task) (eco2_task_last_done_timestamp_seconds)"},
                "s",
            ),
            Panel("Oldest message to another service", {"waits": "max(eco2_outbox_oldest_seconds)"}, "s"),
            Panel("Since a source gave news", {"{{source}}": "max by (source) (eco2_info_source_age_seconds)"}, "s"),
        ],
        "Imports": [
            Panel(
                "Rows of the last imports",
                {"{{data}} {{outcome}} {{reason}}": "max by (data, outcome, reason) (eco2_import_rows)"},
                help="Of every feed of places, and of the collection days. A row to be looked at (review) is kept.",
            ),
            Panel("Feeds whose last import was refused", {"{{data}}": "max by (data) (eco2_imports_refused)"}),
        ],
    },
)

COST = Board(
    "Eco² cost of paid models",
    {
        "Money": [
            Panel(
                "Spent today",
                {"spent": "max(eco2_llm_spent_today_usd)", "budget": "max(eco2_llm_budget_usd)"},
                "currencyUSD",
                "By the configured prices, with what is held for open calls.",
            ),
            Panel(
                "Cost an hour",
                {"{{model}} {{purpose}}": "sum by (model, purpose) (increase(eco2_llm_cost_usd_total[1h]))"},
                "currencyUSD",
            ),
            Panel(
                "Cost of a scan",
                {"mean of an hour": f"{_HOURLY_COST} / {_HOURLY_SCANS}"},
                "currencyUSD",
            ),
            Panel(
                "Tokens", {"{{purpose}} {{direction}}": rate("eco2_llm_tokens_total", "purpose", "direction")}, "ops"
            ),
            Panel(
                "Cost of chats an hour",
                {"{{node}}": f'sum by (node) (increase(eco2_llm_cost_usd_total{{node!=""}}[1h])){OR_NONE}'},
                "currencyUSD",
                "By the node of the turn that asked a model.",
            ),
            Panel(
                "Tokens of chats",
                {"{{node}} {{direction}}": _CHAT_TOKENS},
                "ops",
            ),
            Panel("Looks answered from the cache", {"1 hour": "eco2:vision_cache_hits:ratio_rate1h"}, "percentunit"),
            Panel(
                "Saved by the embedded model",
                {"an hour": f"sum(increase(eco2_scan_cascade_saved_usd_total[1h])){OR_NONE}"},
                "currencyUSD",
            ),
        ],
        "Calls": [
            Panel("Calls", {"{{purpose}} {{outcome}}": rate("eco2_llm_calls_total", "purpose", "outcome")}, "ops"),
            Panel("Time of a call, p95", p95("eco2_llm_seconds", "purpose"), "s"),
            Panel("Wait for a turn, p95", p95("eco2_llm_queue_seconds", "provider"), "s"),
            Panel("Retries", {"all": f"{rate('eco2_llm_retries_total')}{OR_NONE}"}, "ops"),
            Panel("Left alone", {"{{provider}}": "max by (provider) (eco2_llm_breaker_open)"}),
            Panel("Stopped by an operator", {"stopped": "max(eco2_llm_stopped)"}),
            Panel("Answers not used", {"all": f"{rate('eco2_llm_answers_unused_total')}{OR_NONE}"}, "ops"),
        ],
    },
)

BOARDS = {
    "platform": PLATFORM,
    "scan": SCAN,
    "chat": CHAT,
    "edge": EDGE,
    "data": DATA,
    "queues": QUEUES,
    "cost": COST,
}
"""Name of the file → dashboard."""


def queries() -> list[tuple[str, str, str]]:
    """(board, panel, query) of all."""
    return [
        (name, panel.title, query)
        for name, board in BOARDS.items()
        for panels in board.rows.values()
        for panel in panels
        for query in panel.queries.values()
    ]
