package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/dlq"
)

// dlqReplay are the flags of `millrace dlq replay`.
type dlqReplay struct {
	dlqFilters
	dlq.Replay
	unanswered bool
}

func (p *program) dlqReplayCommand() *cobra.Command {
	var f dlqReplay
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "Put the requests of dead letters back",
		Long: `Publish the requests of dead letters again: payload, key and headers, to the topic
and partition that they came from. Without filters, all of them. Each names its
dead letter in the header millrace-replay-of and the request as it was first asked
in millrace-original-id, which its answer names too.

Nothing is replayed twice. With each request, in the same transaction, a note is
written behind its dead letter; what has one is passed over. So this may be
stopped or killed at any point, and run again for the rest. A replay that is
refused again is a new dead letter, and may be replayed again.

kafka_replyTopic and kafka_replyPartition are dropped, for whoever waited is gone:
the answer goes to the results topic. So is a ce_expirytime that is past.

After a worker's crash a request may have been refused once and answered with a
prediction once; --unanswered passes over those, and over originals that another
replay got a prediction for. It reads the results from the earliest dead letter on.

It exits with 0 when all that can be replayed was, with 1 when it was stopped or
failed on the way, and with 2 when a flag is wrong.`,
		Example: `  millrace dlq replay --code MODEL_NOT_FOUND --model fraud --dry-run
  millrace dlq replay --code MODEL_NOT_FOUND --model fraud --rate 100
  millrace dlq replay --since 2h --limit 10        # a few first
  millrace dlq replay --id inference.requests/3/17 # one, by the ce_id of the error's answer`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.runDLQReplay(cmd.Context(), &f) },
	}
	p.dlqFlags(cmd, &f.dlqFilters)
	flags := cmd.Flags()
	flags.BoolVar(&f.DryRun, "dry-run", false, "print what would be sent, and send nothing")
	flags.Float64Var(&f.Rate, "rate", 0, "requests a second; 0 is as fast as the broker takes them")
	flags.IntVar(&f.Limit, "limit", 0, "requests to send at most; 0 is all")
	flags.BoolVar(&f.KeepReply, "keep-reply", false, "keep kafka_replyTopic and kafka_replyPartition: whoever asked still waits")
	flags.BoolVar(&f.unanswered, "unanswered", false, "read the results topic too, and pass over what has a prediction by now")
	return cmd
}

func (p *program) runDLQReplay(ctx context.Context, f *dlqReplay) error {
	filter, err := f.filter(time.Now())
	if !(f.Rate >= 0) || f.Limit < 0 { // nor not a number
		err = errors.Join(err, errors.New("--rate and --limit: must not be below 0"))
	}
	if err != nil {
		return usageError(err)
	}
	var cfg dlqConfig
	source, line, err := p.dlqSource(&cfg)
	if err != nil {
		return err
	}
	r, sent := f.Replay, 0
	r.Source, r.Filter = source, filter
	if f.unanswered {
		r.Results = cfg.Topics.Results
	}
	r.Each = func(s dlq.Sent) {
		sent++
		if f.DryRun {
			line.clear()
			_, _ = fmt.Fprintln(p.out, wouldSend(s))
		}
	}
	line.more = func() string { return fmt.Sprintf("%d requests replayed", sent) }
	if f.DryRun {
		line.more = func() string { return fmt.Sprintf("%d requests to replay", sent) }
	}
	res, err := r.Run(ctx)
	line.clear()
	writeReplay(p.out, res, f.DryRun)
	if errors.Is(err, context.Canceled) {
		return errors.New("stopped: run the same again for the rest, nothing is sent twice")
	}
	return adviseDLQ(err, source.Topic)
}

// wouldSend is a line of a dry run.
func wouldSend(s dlq.Sent) string {
	line := fmt.Sprintf("%s  %s  %s  %s -> %s", s.At, stamp(s.Time), s.Code, s.Request, s.To)
	if len(s.Dropped) > 0 {
		line += "  without " + strings.Join(s.Dropped, ", ")
	}
	return line
}

// writeReplay says what was sent, and of what was not, why.
func writeReplay(w io.Writer, r dlq.Result, dry bool) {
	verb := "replayed"
	if dry {
		verb = "would be replayed"
	}
	_, _ = fmt.Fprintf(w, "%s %s, of %s picked\n", plural(r.Sent, "request"), verb, plural(r.Picked, "dead letter"))
	for _, c := range []struct {
		n    int
		text string
	}{
		{r.Expired, "of these without their deadline, which is past"},
		{r.Replayed, "not sent: replayed before"},
		{r.Answered, "not sent: answered with a prediction since"},
		{r.Repeated, "not sent: another dead letter is of the same request"},
		{r.Missing, "not sent: the dead letter has no payload"},
		{r.TooLarge, "not sent: larger than the broker takes"},
	} {
		if c.n > 0 {
			_, _ = fmt.Fprintf(w, "  %d %s\n", c.n, c.text)
		}
	}
}
