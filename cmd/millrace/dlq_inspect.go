package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/dlq"
)

// dlqInspect are the flags of `millrace dlq inspect`.
type dlqInspect struct {
	dlqFilters
	records int
	show    string
	bytes   int
	output  string
}

func (p *program) dlqInspectCommand() *cobra.Command {
	var f dlqInspect
	cmd := &cobra.Command{
		Use:   "inspect",
		Short: "Count dead letters by code, model and time, and show single ones",
		Long: `Read the dead-letter topic, committed records only and up to the end that it has
at the start, and count its letters by error code, by model and by time; then show
the newest. It joins no group and changes nothing.

The model is the version that refused the request, or, as "not reached", what the
request's header model asked for. "replayed" counts those whose request was put
back by 'millrace dlq replay'. Times are UTC.

It exits with 0, also when there is nothing, with 1 when the topic could not be
read, and with 2 when a flag is wrong.`,
		Example: `  millrace dlq inspect                              # all of it, and the newest 3
  millrace dlq inspect --since 2h --code INVALID_INPUT --records 20
  millrace dlq inspect --model fraud/7 --since 2026-07-01T10:00:00Z --until 2026-07-01T11:00:00Z
  millrace dlq inspect --show inference.requests/3/17   # by the ce_id of the error's answer
  millrace dlq inspect --partition 3 --offset 42 -o json | jq -r '.records[0].payload'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.runDLQInspect(cmd.Context(), &f) },
	}
	p.dlqFlags(cmd, &f.dlqFilters)
	cmd.Flags().IntVarP(&f.records, "records", "n", 3, "newest dead letters to show")
	cmd.Flags().StringVar(&f.show, "show", "", "show all of the dead letter, or the request, at `TOPIC/PARTITION/OFFSET`")
	cmd.Flags().IntVar(&f.bytes, "payload-bytes", 2048, "of a payload to show; 0 shows all")
	outputFlag(cmd, &f.output)
	return cmd
}

func (p *program) runDLQInspect(ctx context.Context, f *dlqInspect) error {
	if f.show != "" {
		if f.id != "" {
			return usageError(errors.New("--show: it is --id with all of the payload, give one of them"))
		}
		f.id, f.bytes, f.records = f.show, 0, max(f.records, 100)
	}
	filter, err := f.filter(time.Now())
	var negative error
	if f.records < 0 || f.bytes < 0 {
		negative = errors.New("--records and --payload-bytes: must not be below 0")
	}
	if err := errors.Join(err, negative, checkOutput(f.output)); err != nil {
		return usageError(err)
	}
	source, line, err := p.dlqSource(&dlqConfig{})
	if err != nil {
		return err
	}
	sum, err := dlq.Inspect(ctx, source, filter, f.records)
	line.clear()
	if err != nil {
		return adviseDLQ(err, source.Topic)
	}
	limit := f.bytes
	if limit == 0 {
		limit = math.MaxInt
	}
	if f.output == outputJSON {
		return writeJSON(p.out, summaryJSON(source.Topic, sum, limit))
	}
	return writeSummary(p.out, source.Topic, sum, limit, f.show == "")
}

// writeSummary prints the counts, when asked for, and then the letters.
func writeSummary(w io.Writer, topic string, s *dlq.Summary, limit int, counts bool) error {
	if s.Letters == 0 {
		_, err := fmt.Fprintf(w, "no such dead letter in %s%s\n", topic, others(s))
		return err
	}
	if counts {
		if err := writeCounts(w, topic, s); err != nil {
			return err
		}
	}
	for i := range s.Newest {
		if counts || i > 0 {
			_, _ = fmt.Fprintln(w)
		}
		if err := writeLetter(w, &s.Newest[i], limit); err != nil {
			return err
		}
	}
	return nil
}

func writeCounts(w io.Writer, topic string, s *dlq.Summary) error {
	_, _ = fmt.Fprintf(w, "%s in %s, refused from %s to %s\n", plural(s.Letters, "dead letter"), topic, stamp(s.First), stamp(s.Last))
	_, _ = fmt.Fprintf(w, "%d of them replayed, %d without payload%s\n\n", s.Replayed, s.Missing, others(s))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, part := range []struct {
		title  string
		counts []dlq.Count
		name   func(dlq.Count) string
	}{
		{"code", s.Codes, named},
		{"model", s.Models, named},
		{"time", s.Times, func(c dlq.Count) string { return c.Start.Format(bucketLayout(s.Bucket)) }},
	} {
		if i > 0 {
			_, _ = fmt.Fprintln(t, "\t\t")
		}
		_, _ = fmt.Fprintf(t, "%s\tletters\treplayed\n", part.title)
		for _, c := range part.counts {
			_, _ = fmt.Fprintf(t, "%s\t%d\t%d\n", part.name(c), c.Letters, c.Replayed)
		}
	}
	return t.Flush()
}

func named(c dlq.Count) string {
	if c.Name == "" {
		return "(none)"
	}
	return c.Name
}

func bucketLayout(width time.Duration) string {
	if width >= 24*time.Hour {
		return time.DateOnly
	}
	return "2006-01-02 15:04"
}

func others(s *dlq.Summary) string {
	if s.Other == 0 {
		return ""
	}
	return fmt.Sprintf("; %s besides that no dead letter", plural(s.Other, "record is", "records are"))
}

// plural is a number with its noun.
func plural(n int, one string, many ...string) string {
	switch {
	case n == 1:
		return "1 " + one
	case len(many) > 0:
		return fmt.Sprintf("%d %s", n, many[0])
	}
	return fmt.Sprintf("%d %ss", n, one)
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}
