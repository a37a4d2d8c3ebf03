package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// The pauses between two tries to read a topic that is missing or cannot be
// read.
const (
	sidePauseFirst = 250 * time.Millisecond
	sidePauseLast  = 10 * time.Second
)

// SideTopic is a small topic that a process reads beside its work, all of it and
// without a group. Work goes on without the topic.
type SideTopic struct {
	Name      string
	Meanwhile string        // what happens while it cannot be read, for the log
	Patience  time.Duration // how long that may last before it is told: at a start topics come one by one
	Log       *slog.Logger
}

// Read reads again and again until ctx ends. read does so until something fails,
// and says whether it got anywhere. Why it fails for long is logged once.
func (s SideTopic) Read(ctx context.Context, read func(context.Context) (worked bool, err error)) {
	said, began, pause := "", time.Now(), sidePauseFirst
	for ctx.Err() == nil {
		worked, err := read(ctx)
		if worked {
			said, began, pause = "", time.Now(), sidePauseFirst
		}
		if reason := fmt.Sprint(err); reason != said && ctx.Err() == nil && time.Since(began) >= s.Patience {
			said = reason
			s.Log.WarnContext(ctx, "a topic cannot be read", "topic", s.Name, "meanwhile", s.Meanwhile, "error", err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
		pause = min(2*pause, sidePauseLast)
	}
}

// Exists returns nil for a topic that is there, and
// [kerr.UnknownTopicOrPartition] for one that is not.
func Exists(ctx context.Context, adm *kadm.Client, topic string) error {
	have, err := adm.ListTopics(ctx, topic)
	if err == nil {
		err = have.Error()
	}
	if err == nil && !have.Has(topic) {
		err = kerr.UnknownTopicOrPartition
	}
	return err
}
