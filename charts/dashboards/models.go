package main

func models() dashboard {
	return dashboard{
		uid: "millrace-models", title: "Millrace / Models and swaps", about: "Which version answers, and how each does.",
		rows: []row{
			{"Serving", []panel{
				{title: "Workers by version", unit: "short", lines: []line{{expr: "count by (model, version, flavor) (millrace_model_info" + pool + ")", legend: "{{model}} {{version}} ({{flavor}})"}}},
				{title: "Answers by version", unit: "reqps", lines: []line{{expr: rate("inference_requests_total", pool, "model", "version"), legend: "{{model}} {{version}}"}}},
			}},
			{"By version", []panel{
				{title: "p95 by version", unit: "s", lines: []line{{expr: quantile(0.95, "inference_latency_seconds", pool, "model", "version"), legend: "{{model}} {{version}}"}}},
				{title: "Errors by version", unit: "reqps", lines: []line{{expr: rate("inference_errors_total", pool, "model", "version", "code"), legend: "{{model}} {{version}} {{code}}"}}},
				{
					title: "Memory by version", unit: "bytes", about: "What its processes hold, of a version that runs in Python; of others an estimate. Over all workers.",
					lines: []line{{
						expr:   "sum by (model, version) (millrace_model_process_resident_bytes" + pool + " or millrace_model_memory_bytes" + pool + ")",
						legend: "{{model}} {{version}}",
					}},
				},
			}},
			{"Changes", []panel{
				{title: "Loads", unit: "short", lines: []line{{expr: "sum by (model, result) (increase(millrace_model_loads_total" + pool + "[1h]))", legend: "{{model}}: {{result}}"}}},
				{title: "Swaps", unit: "short", lines: []line{{expr: "sum by (model) (increase(millrace_model_swaps_total" + pool + "[1h]))", legend: "{{model}}"}}},
				{title: "Since the registry answered", unit: "s", lines: []line{{expr: "time() - max by (model) (millrace_model_last_poll_timestamp_seconds" + pool + ")", legend: "{{model}}"}}},
			}},
			{"Going back", []panel{
				{title: "Steps of versions, in an hour", unit: "short", lines: []line{{
					expr: "sum by (model, step) (increase(millrace_model_steps_total" + pool + "[1h]))", legend: "{{model}}: {{step}}",
				}}},
				{
					title: "Taken back, or a process of Python replaced, in an hour", unit: "short",
					about: "Rollbacks have the reasons failures, latency and pool (another worker found so); processes crash, timeout, protocol and memory.",
					lines: []line{{
						expr:   "sum by (model, reason) (increase(millrace_model_rollbacks_total" + pool + "[1h]) or increase(millrace_model_process_restarts_total" + pool + "[1h]))",
						legend: "{{model}}: {{reason}}",
					}},
				},
				{
					title: "Workers with a version on probation or left alone", unit: "short",
					about: "On probation is what came within MILLRACE_MODEL_ROLLBACK_WINDOW. Left alone is what the reference still names after its rollback: the version before serves.",
					lines: []line{
						{expr: "sum by (model) (millrace_model_on_probation" + pool + ")", legend: "{{model}}: on probation"},
						{expr: "sum by (model) (millrace_model_left_alone" + pool + ")", legend: "{{model}}: left alone"},
					},
				},
			}},
			{"Split", []panel{
				{
					title: "Share", unit: "percentunit", about: "Of the requests, of MILLRACE_SPLIT; 0 while the version is off.",
					lines: []line{{expr: "avg by (reference) (millrace_split_share_ratio" + pool + ")", legend: "{{reference}}"}},
				},
				{title: "Requests", unit: "reqps", lines: []line{{expr: rate("millrace_split_requests_total", pool, "reference"), legend: "{{reference}}"}}},
				{title: "Failures, and times switched off, in 5 minutes", unit: "short", lines: []line{
					{expr: "sum by (reference) (increase(millrace_split_failures_total" + pool + "[5m]))", legend: "{{reference}}: failures"},
					{expr: "sum by (reference) (increase(millrace_split_trips_total" + pool + "[5m]))", legend: "{{reference}}: switched off"},
				}},
			}},
			{"Shadow", []panel{
				{title: "Answers beside those given", unit: "reqps", lines: []line{{expr: rate("millrace_shadow_answers_total", pool, "version", "primary", "result"), legend: "{{version}} beside {{primary}}: {{result}}"}}},
				{title: "Largest relative difference, p95", unit: "short", lines: []line{{expr: quantile(0.95, "millrace_shadow_relative_distance", pool, "version", "primary"), legend: "{{version}} beside {{primary}}"}}},
				{title: "Waiting and dropped", unit: "short", lines: []line{
					{expr: "sum(millrace_shadow_queued_records" + pool + ")", legend: "waiting"},
					{expr: rate("millrace_shadow_dropped_total", pool, "reason"), legend: "dropped a second: {{reason}}"},
				}},
			}},
		},
	}
}
