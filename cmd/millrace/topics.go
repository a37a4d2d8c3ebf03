package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/kafka"
)

// topicsConfig is all that `millrace topics` is told by the environment: that of
// the workers and gateways, of which it reads what says which topics they need.
type topicsConfig struct {
	Kafka  kafka.Config `envPrefix:"MILLRACE_"`
	Topics kafka.Topics `envPrefix:"MILLRACE_"`
	Shares sharesConfig `envPrefix:"MILLRACE_"`
	Log    logConfig    `envPrefix:"MILLRACE_"`
}

// needed are the topics of a worker with this configuration.
func (c topicsConfig) needed() kafka.Topics {
	return workerConfig{Topics: c.Topics, Shares: c.Shares}.needed()
}

func (p *program) topicsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "topics",
		Short: "Create the topics that a pool needs, or check that they are there",
		Long: `Create the topics that workers and gateways need, or check that they are there.

Give it the environment of the workers. A topic that exists is left as it is, so
that 'create' may be run again and again, by several at a time.

` + environment(&topicsConfig{}),
		Example: `  MILLRACE_TOPIC_PARTITIONS=24 MILLRACE_TOPIC_REPLICATION=3 millrace topics create --brokers broker-1:9092
  millrace topics check --brokers broker-1:9092`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError(fmt.Errorf("unknown command %q for %s; %s --help lists them", args[0], cmd.CommandPath(), cmd.CommandPath()))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		p.topicsSubcommand("create", "Create the topics that are missing", createMissing),
		p.topicsSubcommand("check", "Fail when a topic is missing", nil),
	)
	return cmd
}

// createMissing returns when the topics are there, which is later than their
// creation.
func createMissing(ctx context.Context, cl *kgo.Client, t kafka.Topics, log *slog.Logger) error {
	if err := kafka.EnsureTopics(ctx, cl, t, log); err != nil {
		return err
	}
	return kafka.WaitTopics(ctx, cl, slog.New(slog.DiscardHandler), t.Names()...)
}

// topicsSubcommand waits for the broker, does what it is for, and lists the
// topics.
func (p *program) topicsSubcommand(name, short string, do func(context.Context, *kgo.Client, kafka.Topics, *slog.Logger) error) *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: name, Short: short, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var cfg topicsConfig
			if err := p.parse(&cfg); err != nil {
				return err
			}
			if timeout <= 0 {
				return usageError(fmt.Errorf("--timeout: %s is not above zero", timeout))
			}
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), timeout, fmt.Errorf("not done within %s", timeout))
			defer cancel()
			return p.withTopics(ctx, cfg, do)
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", time.Minute, "longest that it may take, the wait for a broker included")
	p.overriddenBy(cmd, "brokers", "MILLRACE_KAFKA_BROKERS")
	return cmd
}

func (p *program) withTopics(ctx context.Context, cfg topicsConfig, do func(context.Context, *kgo.Client, kafka.Topics, *slog.Logger) error) error {
	log := p.logger(cfg.Log)
	opts, err := cfg.Kafka.Opts(log)
	if err != nil {
		return usageError(err)
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	defer cl.Close()
	if err := kafka.WaitTopics(ctx, cl, log); err != nil {
		return err
	}
	if do != nil {
		if err := do(ctx, cl, cfg.needed(), log); err != nil {
			return err
		}
	}
	return p.listTopics(ctx, cl, cfg.needed())
}

// listTopics prints the topics and fails when one is missing.
func (p *program) listTopics(ctx context.Context, cl *kgo.Client, t kafka.Topics) error {
	have, err := kadm.NewClient(cl).ListTopics(ctx, t.Names()...)
	if err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	out := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(out, "TOPIC\tPARTITIONS\tREPLICAS") // the writer's Flush has the error
	missing := 0
	for _, name := range t.Names() {
		d, ok := have[name]
		switch {
		case !ok || errors.Is(d.Err, kerr.UnknownTopicOrPartition):
			missing++
			_, _ = fmt.Fprintf(out, "%s\tmissing\t\n", name)
		case d.Err != nil:
			return fmt.Errorf("topic %s: %w", name, d.Err)
		default:
			_, _ = fmt.Fprintf(out, "%s\t%d\t%d\n", name, len(d.Partitions), d.Partitions.NumReplicas())
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if missing > 0 {
		return fmt.Errorf("%d topics are missing: 'millrace topics create' creates them", missing)
	}
	return nil
}
