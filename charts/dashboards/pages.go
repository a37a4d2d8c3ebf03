package main

// The bounds of the alerts and of the scaler's defaults, which the panels show.
const (
	latencyAlert = 2    // seconds, HighLatency
	latencyScale = 1.5  // seconds, the scaler's trigger on p95
	errorsAlert  = 0.01 // of all, HighErrorRate
	backlogAlert = 30   // records a worker, QueueBacklog
	lagScale     = 20   // records a worker, the scaler's trigger on lag
	ageAlert     = 60   // seconds, OldestRecordTooOld
)

// groupLag is the group's lag as gateways see it: each of them sees all of it.
const groupLag = "sum(max by (group, topic) (millrace_group_lag_records))"

func overview() dashboard {
	errorRatio := "sum(rate(inference_errors_total" + pool + "[$__rate_interval])) / sum(rate(inference_requests_total" + pool + "[$__rate_interval]))"
	return dashboard{
		uid: "millrace-overview", title: "Millrace / Overview", about: "What a pool does, and whether it is well.",
		rows: []row{
			{"Now", []panel{
				{title: "Answers", unit: "reqps", last: true, lines: []line{{expr: rate("inference_requests_total", pool)}}},
				{title: "Errors", unit: "percentunit", last: true, bound: errorsAlert, lines: []line{{expr: errorRatio}}},
				{title: "p95", unit: "s", last: true, bound: latencyAlert, lines: []line{{expr: quantile(0.95, "inference_latency_seconds", pool)}}},
				{title: "Lag", unit: "short", last: true, lines: []line{{expr: "sum(inference_queue_len" + pool + ")"}}},
				{title: "Oldest request", unit: "s", last: true, bound: ageAlert, lines: []line{{expr: "max(millrace_oldest_record_age_seconds" + pool + ")"}}},
				{title: "Workers", unit: "short", last: true, lines: []line{{expr: "count(inference_queue_len" + pool + ")"}}},
			}},
			{"Requests", []panel{
				{title: "Answers by outcome", unit: "reqps", lines: []line{{expr: rate("inference_requests_total", pool, "code"), legend: "{{code}}"}}},
				{title: "Share of errors", unit: "percentunit", bound: errorsAlert, lines: []line{{expr: errorRatio, legend: "errors"}}},
			}},
			{"Latency", []panel{
				{
					title: "What the requester feels", unit: "s", bound: latencyAlert, about: "From a request's timestamp to its acknowledged answer.",
					lines: quantiles("inference_latency_seconds", pool),
				},
				{
					title: "Waiting", unit: "s", about: "From a request's timestamp to the start of its batch: the part that more workers can help.",
					lines: quantiles("inference_queue_latency", pool),
				},
			}},
			{"Queue and workers", []panel{
				{title: "Lag in records", unit: "short", lines: []line{
					{expr: "sum(inference_queue_len" + pool + ")", legend: "seen by the workers"},
					{expr: groupLag, legend: "seen from outside"},
				}},
				{title: "Lag in seconds", unit: "s", bound: ageAlert, lines: []line{{expr: "max(millrace_oldest_record_age_seconds" + pool + ")", legend: "oldest unanswered request"}}},
				{title: "Workers", unit: "short", lines: []line{
					{expr: "count(inference_queue_len" + pool + ")", legend: "scraped"},
					{expr: "kube_horizontalpodautoscaler_status_desired_replicas", legend: "desired by {{horizontalpodautoscaler}}", needs: "kube-state-metrics"},
					{expr: `kube_deployment_status_replicas_ready{deployment=~".*millrace.*worker.*"}`, legend: "ready", needs: "kube-state-metrics"},
				}},
			}},
			{"Gateways", []panel{
				{title: "HTTP answers by status", unit: "reqps", lines: []line{{expr: rate("millrace_gateway_requests_total", "", "code"), legend: "{{code}}"}}},
				{title: "HTTP latency", unit: "s", lines: quantiles("millrace_gateway_latency_seconds", "")},
				{title: "Waiting and refused", unit: "short", lines: []line{
					{expr: "sum(millrace_gateway_waiting_requests)", legend: "waiting"},
					{expr: rate("millrace_gateway_refused_requests_total", "", "reason"), legend: "refused a second: {{reason}}"},
				}},
			}},
			{"What gateways know", []panel{
				{title: "Versions that workers say they serve", unit: "short", lines: []line{{expr: "max(millrace_gateway_cards)", legend: "by their cards"}}},
				{title: "Asynchronous predictions", unit: "short", lines: []line{
					{expr: "max(millrace_gateway_predictions)", legend: "kept, pending ones included"},
					{expr: "max(increase(millrace_gateway_predictions_evicted_total[5m]))", legend: "forgotten before their time, in 5 minutes"},
				}},
				{title: "Their bytes", unit: "bytes", lines: []line{{expr: "max(millrace_gateway_predictions_bytes)", legend: "of one gateway"}}},
			}},
		},
	}
}

func worker() dashboard {
	return dashboard{
		uid: "millrace-worker", title: "Millrace / One worker", about: "A single worker, from the inside.", perWorker: true,
		rows: []row{
			{"Work", []panel{
				{title: "Answers by outcome", unit: "reqps", lines: []line{{expr: rate("inference_requests_total", one, "code"), legend: "{{code}}"}}},
				{title: "Phases, p95", unit: "s", lines: []line{{expr: quantile(0.95, "millrace_phase_seconds", one, "phase"), legend: "{{phase}}"}}},
				{title: "Records in a batch", unit: "short", lines: []line{
					{expr: quantile(0.5, "millrace_batch_records", one), legend: "p50"},
					{expr: quantile(0.95, "millrace_batch_records", one), legend: "p95"},
				}},
			}},
			{"What is under way", []panel{
				{title: "Records", unit: "short", lines: []line{
					{expr: "millrace_in_flight_records" + one, legend: "in flight"},
					{expr: "millrace_queued_records" + one, legend: "queued"},
					{expr: "millrace_running_records" + one, legend: "running"},
					{expr: "millrace_publish_pending_records" + one, legend: "being published"},
				}},
				{title: "Bytes in flight", unit: "bytes", lines: []line{{expr: "millrace_in_flight_bytes" + one, legend: "in flight"}}},
			}},
			{"Process", []panel{
				{title: "Processor", unit: "short", lines: []line{{expr: rate("process_cpu_seconds_total", one), legend: "cores"}}},
				{title: "Memory", unit: "bytes", lines: []line{
					{expr: "process_resident_memory_bytes" + one, legend: "resident"},
					{expr: "go_memstats_heap_inuse_bytes" + one, legend: "Go's heap"},
				}},
				{title: "Goroutines", unit: "short", lines: []line{{expr: "go_goroutines" + one, legend: "goroutines"}}},
			}},
		},
	}
}

func kafka() dashboard {
	return dashboard{
		uid: "millrace-kafka", title: "Millrace / Kafka", about: "Partitions, commits, rebalances, transactions and dead letters.",
		rows: []row{
			{"Partitions", []panel{
				{title: "Lag in records", unit: "short", lines: []line{{expr: "sum by (topic, partition) (millrace_partition_lag_records" + pool + ")", legend: "{{topic}}/{{partition}}"}}},
				{title: "Lag in seconds", unit: "s", bound: ageAlert, lines: []line{{expr: "max by (topic, partition) (millrace_partition_lag_seconds" + pool + ")", legend: "{{topic}}/{{partition}}"}}},
			}},
			{"The group", []panel{
				{title: "Partitions held", unit: "short", lines: []line{{expr: "count by (instance) (millrace_partition_lag_records" + pool + ")", legend: "{{instance}}"}}},
				{title: "Rebalances", unit: "short", lines: []line{{expr: "sum by (event) (increase(millrace_rebalances_total" + pool + "[5m]))", legend: "{{event}}"}}},
				{title: "Commits", unit: "ops", lines: []line{{expr: rate("millrace_commits_total", pool, "result"), legend: "{{result}}"}}},
			}},
			{"Records", []panel{
				{title: "Taken in", unit: "reqps", lines: []line{{expr: rate("millrace_consumed_records_total", pool, "instance"), legend: "{{instance}}"}}},
				{title: "Published", unit: "reqps", lines: []line{{expr: rate("millrace_published_records_total", pool, "kind"), legend: "{{kind}}"}}},
				{title: "Dead letters in 5 minutes", unit: "short", lines: []line{{expr: "sum by (code) (increase(millrace_dead_letters_total" + pool + "[5m]))", legend: "{{code}}"}}},
			}},
			{"Exactly once", []panel{
				{title: "Transactions", unit: "ops", lines: []line{{expr: rate("millrace_transactions_total", pool, "result"), legend: "{{result}}", needs: "exactly-once"}}},
				{title: "Length of a transaction", unit: "s", lines: []line{{expr: quantile(0.95, "millrace_transaction_seconds", pool), legend: "p95", needs: "exactly-once"}}},
			}},
		},
	}
}

func scaling() dashboard {
	return dashboard{
		uid: "millrace-scaling", title: "Millrace / Scaling", about: "Each trigger of the scaler beside its threshold.",
		rows: []row{
			{"Size", []panel{
				{title: "Workers", unit: "short", lines: []line{
					{expr: "count(inference_queue_len" + pool + ")", legend: "scraped"},
					{expr: "kube_horizontalpodautoscaler_status_desired_replicas", legend: "desired", needs: "kube-state-metrics"},
					{expr: "kube_horizontalpodautoscaler_spec_max_replicas", legend: "most", needs: "kube-state-metrics"},
				}},
			}},
			{"Triggers", []panel{
				{title: "Lag for each worker", unit: "short", bound: lagScale, lines: []line{{expr: "sum(inference_queue_len" + pool + ") / count(inference_queue_len" + pool + ")", legend: "records a worker"}}},
				{title: "p95 of the requesters' latency", unit: "s", bound: latencyScale, lines: []line{{expr: "(" + quantile(0.95, "inference_latency_seconds", pool) + " >= 0) or vector(0)", legend: "p95"}}},
				{title: "Processor for each worker", unit: "short", lines: []line{{expr: "avg(rate(process_cpu_seconds_total" + pool + "[$__rate_interval]))", legend: "cores"}}},
			}},
			{"KEDA", []panel{
				{title: "What KEDA reads", unit: "short", lines: []line{{expr: `keda_scaler_metrics_value{scaledObject=~".*millrace.*"}`, legend: "{{metric}}", needs: "KEDA"}}},
				{title: "Errors", unit: "short", lines: []line{{expr: `sum by (scaledObject) (increase(keda_scaler_detail_errors_total{scaledObject=~".*millrace.*"}[5m]))`, legend: "{{scaledObject}}", needs: "KEDA"}}},
			}},
		},
	}
}

func cost() dashboard {
	return dashboard{
		uid: "millrace-cost", title: "Millrace / Cost", about: "Replica-hours times their price, which the chart's values say.",
		rows: []row{
			{"By the workers of the last day", []panel{
				{title: "A month", unit: "currencyUSD", last: true, lines: []line{{expr: "millrace:cost_per_month"}}},
				{title: "Budget of a month", unit: "currencyUSD", last: true, lines: []line{{expr: "millrace:monthly_budget"}}},
				{title: "Replica-hours of a day", unit: "short", last: true, lines: []line{{expr: "sum(millrace:replica_hours:1d)"}}},
				{title: "A million answers", unit: "currencyUSD", last: true, lines: []line{{
					expr: "1e6 * count(inference_queue_len" + pool + ") * scalar(millrace:replica_hour_price) / (3600 * sum(rate(inference_requests_total" + pool + "[5m])))",
				}}},
			}},
			{"Over time", []panel{
				{title: "Cost of an hour", unit: "currencyUSD", lines: []line{{expr: "count(inference_queue_len" + pool + ") * scalar(millrace:replica_hour_price)", legend: "workers"}}},
				{title: "Answers of a worker", unit: "reqps", lines: []line{{expr: "sum(rate(inference_requests_total" + pool + "[$__rate_interval])) / count(inference_queue_len" + pool + ")", legend: "answers a worker"}}},
			}},
		},
	}
}
