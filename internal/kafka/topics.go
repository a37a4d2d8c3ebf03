package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Topics names the topics and says how missing ones are created.
type Topics struct {
	Requests    string `env:"TOPIC_REQUESTS" envDefault:"inference.requests" help:"Requests are read here."`
	Results     string `env:"TOPIC_RESULTS" envDefault:"inference.results" help:"Answers are written here."`
	Replies     string `env:"TOPIC_REPLIES" envDefault:"inference.replies" help:"Answers to the gateways' requests are written here."`
	DeadLetters string `env:"TOPIC_DLQ" envDefault:"dlq.inference.requests" help:"Requests that got no prediction are copied here."`
	Cancelled   string `env:"TOPIC_CANCELLATIONS" envDefault:"inference.cancellations" help:"Requests whose caller went away are named here; none: they are run all the same."`
	Kept        string `env:"TOPIC_PREDICTIONS" envDefault:"inference.predictions" help:"Answers to the gateways' asynchronous requests are written here; none: there are no such requests."`
	Shadow      string `env:"TOPIC_SHADOW" envDefault:"inference.shadow" help:"Results of MILLRACE_SHADOW are written here; none: they are compared, and shown in the metrics alone."`
	Models      string `env:"TOPIC_MODELS" envDefault:"inference.models" help:"What the registry says of the models is announced here, compacted, so that a pool asks it as one; none: each worker asks by itself."`
	Routes      Routes `env:"ROUTES" help:"More topics that requests are read from, each with the model of requests that name none: topic=name, topic=name@alias or topic=name/version, separated by commas. TOPIC_REQUESTS may be among them."`
	Card        string `env:"TOPIC_CARDS" envDefault:"inference.cards" help:"What the workers serve is told to the gateways here, compacted; none: models are not described."`
	Partitions  int32  `env:"TOPIC_PARTITIONS" envDefault:"12" help:"Partitions of a topic that has to be created."`
	Replication int16  `env:"TOPIC_REPLICATION" envDefault:"-1" help:"Replicas of a topic that has to be created; -1: the broker's default."`
}

// NoTopic is what names no topic, where one can be done without.
const NoTopic = "none"

// Names lists the topics.
func (t Topics) Names() []string {
	names := append(t.Intake(), t.Results, t.Replies, t.DeadLetters)
	for _, name := range []string{t.Cancellations(), t.Predictions(), t.Shadows(), t.Cards(), t.Announcements()} {
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}

// Intake lists the topics that requests are read from, Requests first.
func (t Topics) Intake() []string { return t.Routes.With(t.Requests) }

// Announcements is the topic of models, "" when there is to be none.
func (t Topics) Announcements() string { return Optional(t.Models) }

// Cancellations is the topic of that name, "" when there is to be none.
func (t Topics) Cancellations() string { return Optional(t.Cancelled) }

// Predictions is the topic of asynchronous answers, "" when there is to be none.
func (t Topics) Predictions() string { return Optional(t.Kept) }

// Cards is the topic of what workers serve, "" when there is to be none.
func (t Topics) Cards() string { return Optional(t.Card) }

// Optional is the topic of a setting that may be "none": "" then.
func Optional(name string) string {
	if name == NoTopic {
		return ""
	}
	return name
}

// Shadows is the topic of a shadow's results, "" when there is to be none.
func (t Topics) Shadows() string { return Optional(t.Shadow) }

// Validate reports every mistake, each with the variable that holds it.
func (t Topics) Validate() error {
	legal := regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)
	var errs []error
	seen := make(map[string]string)
	for _, v := range []struct{ name, topic string }{
		{"TOPIC_REQUESTS", t.Requests},
		{"TOPIC_RESULTS", t.Results},
		{"TOPIC_REPLIES", t.Replies},
		{"TOPIC_DLQ", t.DeadLetters},
		{"TOPIC_CANCELLATIONS", t.Cancellations()},
		{"TOPIC_PREDICTIONS", t.Predictions()},
		{"TOPIC_SHADOW", t.Shadows()},
		{"TOPIC_CARDS", t.Cards()},
		{"TOPIC_MODELS", t.Announcements()},
	} {
		if v.topic == "" && slices.Contains([]string{"TOPIC_CANCELLATIONS", "TOPIC_PREDICTIONS", "TOPIC_SHADOW", "TOPIC_CARDS", "TOPIC_MODELS"}, v.name) {
			continue
		}
		if !legal.MatchString(v.topic) || v.topic == "." || v.topic == ".." {
			errs = append(errs, fmt.Errorf(prefix+"%s: %q is not a legal topic name", v.name, v.topic))
		}
		// A broker's metrics take a dot for an underscore, and it refuses
		// two topics that differ in nothing else.
		plain := strings.ReplaceAll(v.topic, ".", "_")
		if other, taken := seen[plain]; taken {
			errs = append(errs, fmt.Errorf(prefix+"%s: %q collides with %s%s", v.name, v.topic, prefix, other))
		}
		seen[plain] = v.name
	}
	errs = append(errs, t.Routes.check(t.Requests, seen, legal)...)
	if t.Partitions < 1 {
		errs = append(errs, fmt.Errorf(prefix+"TOPIC_PARTITIONS: %d is below 1", t.Partitions))
	}
	if t.Replication == 0 || t.Replication < -1 {
		errs = append(errs, fmt.Errorf(prefix+"TOPIC_REPLICATION: %d is neither -1 nor above 0", t.Replication))
	}
	return errors.Join(errs...)
}

// EnsureTopics creates the topics that are missing. One that exists is left
// as it is. Another process may create them at the same time.
func EnsureTopics(ctx context.Context, cl *kgo.Client, t Topics, logger *slog.Logger) error {
	adm := kadm.NewClient(cl)
	have, err := adm.ListTopics(ctx, t.Names()...)
	if err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	var missing []string
	for _, name := range t.Names() {
		if !have.Has(name) {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	var errs []error
	for _, name := range missing {
		partitions, configs := t.Partitions, map[string]*string(nil)
		switch name {
		case t.Cancellations(): // of use for minutes, and every worker reads all of it
			partitions, configs = 1, map[string]*string{"retention.ms": new("3600000")}
		case t.Predictions(): // of use for an hour or so, and every gateway reads all of it
			configs = map[string]*string{"retention.ms": new("86400000")}
		case t.Cards(): // the last word on each version; written again each minute, so that an hour is plenty
			partitions, configs = 1, map[string]*string{
				"cleanup.policy": new("compact,delete"), "retention.ms": new("3600000"), "segment.ms": new("600000"), "min.cleanable.dirty.ratio": new("0.1"),
			}
		case t.Announcements(): // the last word on each reference; segments that end, or nothing is compacted
			partitions, configs = 1, map[string]*string{"cleanup.policy": new("compact"), "segment.ms": new("3600000"), "min.cleanable.dirty.ratio": new("0.1")}
		}
		made, err := adm.CreateTopic(ctx, partitions, t.Replication, configs, name)
		switch {
		case err == nil:
			logger.Info("topic created", "topic", name, "partitions", partitions)
		case !errors.Is(err, kerr.TopicAlreadyExists):
			errs = append(errs, fmt.Errorf("create topic %s: %w %s", name, err, made.ErrMessage))
		}
	}
	return errors.Join(errs...)
}

// waitPause is the time between two looks at a broker that is not ready.
const waitPause = 500 * time.Millisecond

// WaitTopics returns when the broker answers and has all the topics, or when
// ctx ends. It logs a line on each change of the reason to wait.
func WaitTopics(ctx context.Context, cl *kgo.Client, logger *slog.Logger, topics ...string) error {
	last := ""
	for {
		err := checkTopics(ctx, cl, topics)
		if err == nil {
			if last != "" {
				logger.Info("kafka is ready", "topics", topics)
			}
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("wait for topics: %w", context.Cause(ctx))
		}
		if reason := err.Error(); reason != last {
			logger.Warn("waiting for kafka", "error", err)
			last = reason
		}
		timer := time.NewTimer(waitPause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

func checkTopics(ctx context.Context, cl *kgo.Client, topics []string) error {
	// Bounded, for the client's own retries would keep a refused connection
	// silent for half a minute.
	ctx, cancel := context.WithTimeoutCause(ctx, 5*time.Second, errors.New("no answer within 5s"))
	defer cancel()
	if err := cl.Ping(ctx); errors.Is(err, io.EOF) {
		return fmt.Errorf("the broker closes the connection, as one does on wrong credentials or without TLS where it wants it: %w", err)
	} else if err != nil {
		return fmt.Errorf("no broker answers: %w", err)
	}
	have, err := kadm.NewClient(cl).ListTopics(ctx, topics...)
	if err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	var missing []string
	for _, name := range topics {
		switch d, ok := have[name]; {
		case !ok || errors.Is(d.Err, kerr.UnknownTopicOrPartition):
			missing = append(missing, name)
		case d.Err != nil:
			return fmt.Errorf("topic %s: %w", name, d.Err)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return fmt.Errorf("topics are missing: %s", strings.Join(missing, ", "))
	}
	return nil
}
