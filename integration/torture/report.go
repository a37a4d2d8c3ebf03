package torture

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Report is what a run found.
type Report struct {
	Mode     string       `json:"mode"`
	Seed     uint64       `json:"seed"`
	Faults   int          `json:"faults"` // that were made
	ByKind   map[Kind]int `json:"by_kind"`
	Skipped  map[Kind]int `json:"skipped,omitempty"` // drawn, but not possible here
	Notes    []string     `json:"notes,omitempty"`
	Duration float64      `json:"duration_seconds"`
	Pressure float64      `json:"pressure_seconds"` // from the first request to the last fault's end

	Requests         int            `json:"requests"`
	Answered         int            `json:"answered"`
	Lost             int            `json:"lost"`
	Duplicates       int            `json:"duplicates"`
	DeadLetters      int            `json:"dead_letters"`
	DeadLettersTwice int            `json:"dead_letters_repeated"`
	Versions         map[string]int `json:"answers_by_version"`
	LongestGap       float64        `json:"longest_gap_seconds"`
	PartitionGap     float64        `json:"longest_gap_of_a_partition_seconds"`
	Audits           int            `json:"commit_samples"`
	Starts           int            `json:"worker_starts"`
	Exits            map[string]int `json:"worker_exits_unasked"` // by their last words

	Violations []Violation    `json:"violations"`
	Counts     map[string]int `json:"violations_by_rule"`
	Logs       string         `json:"logs"`
}

// Fill takes over the ledger's figures.
func (r *Report) Fill(l *Ledger) {
	c := l.Counts()
	r.Requests, r.Answered, r.Duplicates = c.Asked, c.Answered, c.Repeated
	r.DeadLetters, r.DeadLettersTwice = c.Letters, c.Reletters
	r.Versions, r.Audits = c.Versions, c.Audited
	r.LongestGap, r.PartitionGap = seconds(c.Gap), seconds(c.PartitionGap)
	r.Violations, r.Counts = l.Broken()
	r.Lost = r.Counts[RuleLost]
}

func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }

// String is the report for people.
func (r *Report) String() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-20s "+format+"\n", append([]any{name}, args...)...)
	}
	fmt.Fprintf(&b, "torture %s, seed %d\n", r.Mode, r.Seed)
	line("faults", "%d in %.0f s: %s", r.Faults, r.Pressure, kinds(r.ByKind))
	if len(r.Skipped) > 0 {
		line("left out", "%s", kinds(r.Skipped))
	}
	line("requests", "%d", r.Requests)
	line("answered", "%d, by version: %v", r.Answered, r.Versions)
	line("lost", "%d", r.Lost)
	line("duplicates", "%d", r.Duplicates)
	line("dead letters", "%d, and %d repeated", r.DeadLetters, r.DeadLettersTwice)
	line("longest gap", "%.1f s without an answer; %.1f s of one partition", r.LongestGap, r.PartitionGap)
	line("commits looked at", "%d times", r.Audits)
	line("workers", "%d starts", r.Starts)
	for words, n := range r.Exits {
		line("  ended unasked", "%d: %s", n, words)
	}
	line("duration", "%.0f s", r.Duration)
	for _, n := range r.Notes {
		line("note", "%s", n)
	}
	line("logs", "%s", r.Logs)
	if len(r.Counts) == 0 {
		line("violations", "none")
	}
	for rule, n := range r.Counts {
		line("VIOLATED", "%s: %d times", rule, n)
	}
	for i, v := range r.Violations {
		if i == 20 {
			fmt.Fprintf(&b, "    … the rest is in report.json\n")
			break
		}
		fmt.Fprintf(&b, "    %s: %s\n", v.Rule, v.Detail)
	}
	return b.String()
}

func kinds(n map[Kind]int) string {
	var parts []string
	for _, k := range Kinds() {
		if n[k] > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", k, n[k]))
		}
	}
	return strings.Join(parts, ", ")
}

// Row is the report as a row of a Markdown table, and its head.
func (r *Report) Row() (head, row string) {
	return "| mode | seed | faults | requests | lost | duplicates | longest gap, s | duration, s |\n|---|---|---|---|---|---|---|---|",
		fmt.Sprintf("| `%s` | %d | %d | %d | %d | %d | %.1f | %.0f |", r.Mode, r.Seed, r.Faults, r.Requests, r.Lost, r.Duplicates, r.LongestGap, r.Duration)
}

// Write leaves report.json, report.txt and the faults in dir.
func (r *Report) Write(dir string, faults []Fault) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	drawn, err := json.MarshalIndent(faults, "", " ")
	if err != nil {
		return err
	}
	head, row := r.Row()
	for name, data := range map[string][]byte{
		"report.json": text,
		"report.txt":  []byte(r.String() + "\n" + head + "\n" + row + "\n"),
		"faults.json": drawn,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}
