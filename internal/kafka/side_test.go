package kafka

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestSideTopicIsReadAgain: with longer and longer pauses, short ones again once
// it worked, and each reason is told once when it lasts.
func TestSideTopicIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text strings.Builder
		topic := SideTopic{Name: "small", Meanwhile: "answers are short", Patience: time.Second, Log: slog.New(slog.NewTextHandler(&text, nil))}
		ctx, stop := context.WithCancel(context.Background())
		began := time.Now()
		var at []time.Duration
		topic.Read(ctx, func(context.Context) (bool, error) {
			at = append(at, time.Since(began).Round(time.Millisecond))
			switch len(at) {
			case 10:
				return true, errors.New("cut off")
			case 14:
				stop()
				return false, ctx.Err()
			}
			return false, errors.New("away")
		})
		ms := time.Millisecond
		require.Equal(t, []time.Duration{
			0, 250 * ms, 750 * ms, 1750 * ms, 3750 * ms, 7750 * ms, 15750 * ms, 25750 * ms, 35750 * ms,
			45750 * ms, 46 * time.Second, 46500 * ms, 47500 * ms, 49500 * ms,
		}, at)
		require.Equal(t, 2, strings.Count(text.String(), "meanwhile=\"answers are short\""), text.String())
		require.Equal(t, 2, strings.Count(text.String(), "error=away"), "that it was cut off did not last: %s", text.String())
	})
}

func TestExists(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "there"))
	require.NoError(t, err)
	defer c.Close()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	require.NoError(t, err)
	defer cl.Close()
	require.NoError(t, Exists(t.Context(), kadm.NewClient(cl), "there"))
	require.ErrorIs(t, Exists(t.Context(), kadm.NewClient(cl), "elsewhere"), kerr.UnknownTopicOrPartition)
}
