package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/millrace/millrace/dlq"
	"github.com/millrace/millrace/internal/kafka"
	"github.com/millrace/millrace/model"
)

// dlqConfig is all that `millrace dlq` is told by the environment.
type dlqConfig struct {
	Kafka  kafka.Config `envPrefix:"MILLRACE_"`
	Topics struct {
		DeadLetters string `env:"TOPIC_DLQ" envDefault:"dlq.inference.requests" help:"Requests that got no prediction are copied here."`
		Results     string `env:"TOPIC_RESULTS" envDefault:"inference.results" help:"Answers are written here."`
	} `envPrefix:"MILLRACE_"`
}

func (p *program) dlqCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dlq",
		Short: "Inspect dead letters, and put their requests back",
		Long: `Work with the dead-letter topic, where a copy is of each request that got no
prediction, with the reason in its headers.

Look first, mend what was wrong (the model, its alias, what sends the requests),
then put the requests back.

` + environment(&dlqConfig{}),
		Example: `  millrace dlq inspect --since 24h
  millrace dlq inspect --show dlq.inference.requests/3/17
  millrace dlq replay --code MODEL_NOT_FOUND --model fraud --dry-run
  millrace dlq replay --code MODEL_NOT_FOUND --model fraud --rate 100`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError(fmt.Errorf("unknown command %q for %s; %s --help lists them", args[0], cmd.CommandPath(), cmd.CommandPath()))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(p.dlqInspectCommand(), p.dlqReplayCommand())
	return cmd
}

// dlqFilters are the flags that pick dead letters.
type dlqFilters struct {
	codes, models []string
	since, until  string
	partition     int32
	offset        int64
	id            string
	given         func(flag string) bool
}

func (p *program) dlqFlags(cmd *cobra.Command, f *dlqFilters) {
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringSliceVar(&f.codes, "code", nil, "only these error `CODES`, comma separated")
	flags.StringSliceVar(&f.models, "model", nil, "only these models, `NAME` or NAME/VERSION: what refused the request or what its header model asked for")
	flags.StringVar(&f.since, "since", "", "only what was refused since then: `TIME` ago (90s, 2h, 7d), RFC 3339, or a date in UTC")
	flags.StringVar(&f.until, "until", "", "only what was refused before then: `TIME` likewise")
	flags.Int32Var(&f.partition, "partition", 0, "only this partition of the dead-letter topic")
	flags.Int64Var(&f.offset, "offset", 0, "only this offset; needs --partition")
	flags.StringVar(&f.id, "id", "", "only the dead letter, or the request, that stands at `TOPIC/PARTITION/OFFSET`")
	f.given = flags.Changed
	p.overriddenBy(cmd, "topic", "MILLRACE_TOPIC_DLQ")
	p.overriddenBy(cmd, "brokers", "MILLRACE_KAFKA_BROKERS")
}

// filter reads the flags, and tells every mistake in them.
func (f *dlqFilters) filter(now time.Time) (dlq.Filter, error) {
	out := dlq.Everything()
	out.Models = f.models
	var errs []error
	var err error
	for _, code := range f.codes {
		code = strings.ToUpper(code)
		if !slices.Contains(model.Codes()[1:], model.Code(code)) {
			errs = append(errs, fmt.Errorf("--code: %q is none of %s", code, strings.Trim(fmt.Sprint(model.Codes()[1:]), "[]")))
		}
		out.Codes = append(out.Codes, code)
	}
	if out.Since, err = parseWhen(f.since, now); err != nil {
		errs = append(errs, fmt.Errorf("--since: %w", err))
	}
	if out.Until, err = parseWhen(f.until, now); err != nil {
		errs = append(errs, fmt.Errorf("--until: %w", err))
	}
	if !out.Until.IsZero() && !out.Since.Before(out.Until) {
		errs = append(errs, errors.New("--until: not after --since, so that nothing is between them"))
	}
	if f.given("partition") {
		out.Partition = f.partition
	}
	if f.given("offset") {
		out.Offset = f.offset
	}
	switch {
	case f.given("partition") && f.partition < 0:
		errs = append(errs, fmt.Errorf("--partition: %d is below 0", f.partition))
	case f.given("offset") && f.offset < 0:
		errs = append(errs, fmt.Errorf("--offset: %d is below 0", f.offset))
	case f.given("offset") && !f.given("partition"):
		errs = append(errs, errors.New("--offset: say in which --partition"))
	}
	if f.id != "" {
		if out.ID, err = dlq.ParsePosition(f.id); err != nil {
			errs = append(errs, fmt.Errorf("--id: %w", err))
		}
	}
	return out, usageOf(errs)
}

func usageOf(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	return usageError(errors.Join(errs...))
}

// parseWhen reads a moment: how long ago, or a time. "" is none.
func parseWhen(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseFloat(days, 64); err == nil && n >= 0 && n <= math.MaxInt16 {
			return now.Add(-time.Duration(n * float64(24*time.Hour))), nil
		}
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is neither how long ago, such as 2h or 7d, nor a time such as 2026-07-01T10:00:00Z or 2026-07-01", text)
}

// dlqSource is the topic to read, with progress on standard error.
func (p *program) dlqSource(cfg *dlqConfig) (dlq.Source, *progressLine, error) {
	if err := p.parse(cfg); err != nil {
		return dlq.Source{}, nil, err
	}
	opts, err := cfg.Kafka.Opts(p.toolLogger())
	if err != nil {
		return dlq.Source{}, nil, usageError(err)
	}
	line := &progressLine{out: p.err, terminal: isTerminal(p.err), begun: time.Now()}
	return dlq.Source{Topic: cfg.Topics.DeadLetters, Opts: opts, Tell: line.tell}, line, nil
}

// adviseDLQ says what to do about an error, where that is known.
func adviseDLQ(err error, topic string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		return errors.New("stopped")
	case errors.Is(err, dlq.ErrNoBroker):
		return fmt.Errorf("%w: name one that does with --brokers or MILLRACE_KAFKA_BROKERS", err)
	case errors.Is(err, dlq.ErrNoTopic):
		return fmt.Errorf("%w: the dead-letter topic is named by --topic or MILLRACE_TOPIC_DLQ, its brokers by --brokers or MILLRACE_KAFKA_BROKERS", err)
	case errors.Is(err, kerr.TransactionalIDAuthorizationFailed):
		return fmt.Errorf("%w: allow this user WRITE and DESCRIBE on the transactional id %s", err, dlq.TransactionalID(topic))
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		return fmt.Errorf("%w: allow this user READ on the dead-letter topic, and for a replay WRITE on it and on the requests topic", err)
	case errors.Is(err, dlq.ErrFenced):
		return fmt.Errorf("%w: let it end, then run this again for what is left", err)
	case errors.Is(err, dlq.ErrUnknown):
		return fmt.Errorf("%w: run the same again, which finds out and sends nothing twice", err)
	}
	return err
}

// progressLine shows how far the reading is, when it takes long: on a terminal
// a line that is written over, elsewhere one every few seconds.
type progressLine struct {
	out      io.Writer
	terminal bool
	begun    time.Time
	said     time.Time
	shown    bool
	more     func() string // what else there is to say
}

// The pauses before the first line and between two.
const (
	progressAfter = 2 * time.Second
	progressEvery = 10 * time.Second
)

func (l *progressLine) tell(p dlq.Progress) {
	now := time.Now()
	if now.Sub(l.begun) < progressAfter || !l.terminal && now.Sub(l.said) < progressEvery {
		return
	}
	l.said, l.shown = now, true
	line := fmt.Sprintf("%s: %d of %d offsets", p.What, p.Read, p.Total)
	if l.more != nil {
		line += ", " + l.more()
	}
	if p.Waiting {
		line += "; a transaction that somebody has open is waited for"
	}
	if l.terminal {
		_, _ = fmt.Fprintf(l.out, "\r\x1b[K%s", line)
		return
	}
	_, _ = fmt.Fprintln(l.out, line)
}

// clear takes the line off a terminal.
func (l *progressLine) clear() {
	if l.terminal && l.shown {
		_, _ = fmt.Fprint(l.out, "\r\x1b[K")
	}
}
