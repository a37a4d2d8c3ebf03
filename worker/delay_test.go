package worker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A pool that is stopped while a batch waits to fill ends, and gives the batch
// back.
func TestStopWhileABatchFills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(&fake{})
		r.cfg.BatchDelay = time.Hour
		cause := errors.New("stopped")
		ctx, stop := context.WithCancelCause(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		back := make(chan error, 1)
		r.Submit(t.Context(), []*kgo.Record{rec(0, 0, "a")}, func(_ *kgo.Record, err error) { back <- err })
		synctest.Wait()
		stop(cause)
		require.ErrorIs(t, <-back, cause)
		require.NoError(t, <-ended)
	})
}
