package follow_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model/follow"
)

// A worker that comes when the pool has left a version alone serves the one before,
// and tells that it does, until the reference names another.
func TestAWorkerThatComesLaterTellsWhatIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, told := &registry{}, []bool(nil)
		r.set("1", "id1", nil)
		r.now.Withdrawn = &follow.LeftAlone{Version: "2", Identity: "id2", Reason: follow.ReasonFailures, By: "another"}
		f, err := follow.New(follow.Config{Poll: 10 * time.Second, RetryMin: time.Second, RetryMax: time.Minute, LoadTimeout: time.Hour}, follow.Deps{
			Targets:  []follow.Target{{Reference: "models:/fraud@champion", Resolve: r.resolve, Load: r.load}},
			Observer: follow.Observer{LeftAlone: func(name string, on bool) { told = append(told, name == "fraud" && on) }},
		})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- f.Run(ctx) }()
		pause(15 * time.Second)
		require.Equal(t, "1", version(t, f, ""))
		require.Equal(t, "2", f.Status()[0].LeftAlone.Version)
		require.Equal(t, []bool{true}, told)
		r.set("3", "id3", nil)
		pause(15 * time.Second)
		require.Equal(t, []bool{true, false}, told)
		cancel()
		require.NoError(t, <-ended)
	})
}
