package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// startBroker starts a Kafka broker in this process and returns its address.
// It always works on disk: in memory it is slower and its heap grows with what
// it holds.
func (p *program) startBroker(_ context.Context, all *parts, cfg brokerConfig, log *slog.Logger) (string, error) {
	dir, remove := cfg.DataDir, func() error { return nil }
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp(p.env["TMPDIR"], "millrace-kafka-"); err != nil {
			return "", fmt.Errorf("broker's folder: %w", err)
		}
		remove = func() error { return os.RemoveAll(dir) }
	}
	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.Ports(cfg.Port),
		kfake.ClusterID("millrace-up"),
		kfake.DataDir(dir),
		kfake.BrokerConfigs(map[string]string{"log.cleaner.backoff.ms": "10000"}),
	)
	if errors.Is(err, syscall.EADDRINUSE) {
		err = fmt.Errorf("port %d is taken by another process: choose another with --kafka-port, or use that Kafka with --brokers 127.0.0.1:%d", cfg.Port, cfg.Port)
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("broker: %w", err), remove())
	}
	addr := cluster.ListenAddrs()[0]
	log.Info("broker is served", "addr", addr, "data_dir", dir)
	all.onStop("broker", func() error {
		cluster.Close()
		return remove()
	})
	return addr, nil
}

// boundTopics bounds what the embedded broker keeps on disk: 32 MiB a
// partition. It applies the topic's setting alone, not the broker's, and
// removes whole segments, so that these are small.
func boundTopics(ctx context.Context, cl *kgo.Client, topics []string) error {
	set := func(name, value string) kadm.AlterConfig {
		return kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: kadm.StringPtr(value)}
	}
	answers, err := kadm.NewClient(cl).AlterTopicConfigs(ctx, []kadm.AlterConfig{
		set("retention.bytes", "33554432"), set("segment.bytes", "4194304"),
	}, topics...)
	if err != nil {
		return fmt.Errorf("bound the topics: %w", err)
	}
	for _, a := range answers {
		if a.Err != nil {
			return fmt.Errorf("bound topic %s: %w %s", a.Name, a.Err, a.ErrMessage)
		}
	}
	return nil
}
