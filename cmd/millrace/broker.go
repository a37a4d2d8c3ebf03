package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"github.com/gofrs/flock"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// startBroker starts a Kafka broker in this process and returns its address.
// It always works on disk: in memory it is slower and its heap grows with what
// it holds.
func (p *program) startBroker(all *parts, cfg brokerConfig, log *slog.Logger) (string, error) {
	dir, release, err := p.dataDir(cfg.DataDir)
	if err != nil {
		return "", fmt.Errorf("broker's folder: %w", err)
	}
	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.Ports(cfg.Port),
		kfake.ClusterID("millrace-up"),
		kfake.DataDir(filepath.Join(dir, "kafka")),
		kfake.BrokerConfigs(map[string]string{
			"log.cleaner.backoff.ms": "10000",
			// A share group's own limit is not looked at.
			"group.share.delivery.count.limit": "10",
		}),
	)
	if errors.Is(err, syscall.EADDRINUSE) {
		err = fmt.Errorf("port %d is taken by another process: choose another with --kafka-port, or use that Kafka with --brokers 127.0.0.1:%d", cfg.Port, cfg.Port)
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("broker: %w", err), release())
	}
	addr := cluster.ListenAddrs()[0]
	log.Info("broker is served", "addr", addr, "data_dir", dir)
	all.onStop("broker", func() error {
		cluster.Close()
		return release()
	})
	return addr, nil
}

// dataDir gives the broker a folder of its own: the one asked for, held by a
// lock, or a temporary one that release removes.
func (p *program) dataDir(asked string) (dir string, release func() error, err error) {
	if asked == "" {
		dir, err = os.MkdirTemp(p.env["TMPDIR"], "millrace-up-")
		return dir, func() error { return os.RemoveAll(dir) }, err
	}
	if err := os.MkdirAll(asked, 0o750); err != nil {
		return "", nil, err
	}
	lock := flock.New(filepath.Join(asked, "lock"))
	switch held, err := lock.TryLock(); {
	case err != nil:
		return "", nil, err
	case !held:
		return "", nil, fmt.Errorf("%s is in use by another millrace up", asked)
	}
	return asked, lock.Unlock, nil
}

// boundTopics bounds what the embedded broker keeps on disk: 32 MiB a
// partition. It applies the topic's setting alone, not the broker's, and
// removes whole segments, so that these are small.
func boundTopics(ctx context.Context, cl *kgo.Client, topics []string) error {
	set := func(name, value string) kadm.AlterConfig {
		return kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: new(value)}
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
